"""The operations of the application's users: workloads that are the same for the same seed.

Event and user ids are chosen so that the two clients never change the same notification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal, assert_never, get_args

from duetime.harness.plan.plan import FollowUpKind, PlannedOperation

Lifecycle = Literal[
    "unchanged",
    "created_late",
    "moved_later",
    "moved_earlier",
    "cancelled",
    "joined_and_left",
    "address_changed",
    "cancelled_late",
]
LIFECYCLES: tuple[Lifecycle, ...] = (
    "unchanged",
    "cancelled",
    "created_late",
    "moved_later",
    "address_changed",
    "cancelled_late",
    "moved_earlier",
    "joined_and_left",
)
FOLLOW_UP_KINDS = get_args(FollowUpKind)
CLIENTS = 2
EVENTS_PER_SECOND = 2
"""Per client."""
PARTICIPANTS = 3
"""The largest number of participants with which an event of `mixed_events` is created."""
USERS_PER_CLIENT = 10_000

POLLS_WITHIN_S = 0.04
"""The latest a poll starts after the full second on a busy machine."""
CLOSE_S = (0.5, 0.9)
"""How long before its due time a notification is scheduled, moved or cancelled "late"."""
WITHIN_SECOND_S = (0.40, 0.85)
"""The part of each second in which reminders fall due. Pollers poll at the full second; due times at a distance from it
keep the jitter of their ticks out of scenarios that are about something else."""


def mixed_events(random: Random, *, seconds: int, horizon_s: int) -> list[PlannedOperation]:
    """Events of every `Lifecycle` in turn, begun within `seconds`.

    Each reminder falls due at most `horizon_s` + 1 s after its creation.
    """
    operations: list[PlannedOperation] = []
    for client in range(CLIENTS):
        for number in range(seconds * EVENTS_PER_SECOND):
            # Offset by client, so that every two seconds contain each lifecycle, whatever the seed.
            lifecycle = LIFECYCLES[(number + client * len(LIFECYCLES) // 2) % len(LIFECYCLES)]
            operations += _event(
                random,
                lifecycle,
                client=client,
                number=number,
                second=number // EVENTS_PER_SECOND,
                horizon_s=horizon_s,
            )
    return operations


def events_changed_once(random: Random, *, seconds: int, horizon_s: int) -> list[PlannedOperation]:
    """As `mixed_events`, with at most one change of each event.

    For a database that loses commits: it would give the number of a lost revision to the next change.
    """
    operations, seen = [], dict[int, int]()
    for operation in sorted(mixed_events(random, seconds=seconds, horizon_s=horizon_s), key=lambda each: each.at_s):
        seen[operation.event] = seen.get(operation.event, 0) + 1
        if seen[operation.event] <= 2:
            operations.append(operation)
    return operations


def unchanged_events(
    random: Random, *, seconds: int, horizon_s: int, clients: Sequence[int] = range(CLIENTS)
) -> list[PlannedOperation]:
    """Events that are created and never changed."""
    return [
        operation
        for client in clients
        for number in range(seconds * EVENTS_PER_SECOND)
        for operation in _event(
            random,
            "unchanged",
            client=client,
            number=number,
            second=number // EVENTS_PER_SECOND,
            horizon_s=horizon_s,
        )
    ]


def simultaneous_event(
    *, due_s: float, people: int, number: int = 999, client: int = 0, at_s: float = 0.2
) -> list[PlannedOperation]:
    """One event whose reminders all fall due at the same instant, so that a fault can hit a worker that delivers them.

    number: of the event; it and its users are numbered apart from those of `mixed_events`.
    """
    users = tuple(100_000 * number + 10_000 * client + guest for guest in range(people))
    return [
        PlannedOperation(
            at_s=at_s, client=client, do="create_event", event=event_id(client, number), users=users, due_s=due_s
        )
    ]


def rolled_back_transactions(random: Random, *, seconds: int) -> list[PlannedOperation]:
    """Each second, one event whose creation is rolled back and one event whose move is rolled back."""
    operations = []
    for second in range(seconds):
        client, number = second % CLIENTS, 700 + second * 2
        due = _due(random, second + 3)
        users, users_of_moved = (user_id(client, number * 10),), (user_id(client, number * 10 + 1),)
        event, moved = event_id(client, number), event_id(client, number + 1)
        at = second + random.uniform(0.1, 0.4)
        operations += [
            PlannedOperation(
                at_s=at, client=client, do="create_event", event=event, users=users, due_s=due, rolled_back=True
            ),
            PlannedOperation(
                at_s=at + 0.1, client=client, do="create_event", event=moved, users=users_of_moved, due_s=due
            ),
            PlannedOperation(
                at_s=at + 0.5, client=client, do="move_event", event=moved, due_s=due + 2, rolled_back=True
            ),
        ]
    return operations


def events_created_early(
    random: Random, *, created_s: tuple[float, float], due_s: tuple[int, int], events: int
) -> list[PlannedOperation]:
    """Events created within `created_s` whose reminders fall due in the seconds of `due_s`."""
    return [
        PlannedOperation(
            at_s=random.uniform(*created_s),
            client=number % CLIENTS,
            do="create_event",
            event=event_id(number % CLIENTS, 600 + number),
            users=tuple(user_id(number % CLIENTS, 6000 + number * 10 + i) for i in range(PARTICIPANTS)),
            due_s=_due(random, random.randint(*due_s)),
        )
        for number in range(events)
    ]


def migration_mid_run(random: Random, *, at_s: float) -> list[PlannedOperation]:
    """Client 1 carries out the migration at `at_s` and nothing afterwards; client 0 continues."""
    return [
        *(op for op in mixed_events(random, seconds=11, horizon_s=5) if op.client == 0 or op.at_s < at_s - 0.2),
        *events_created_early(random, created_s=(0.2, 2.5), due_s=(8, 14), events=24),
        PlannedOperation(at_s=at_s, client=1, do="migrate", event=0),
    ]


def moved_and_cancelled_events(random: Random) -> list[PlannedOperation]:
    """Events created early: a third is unchanged, a third is moved, a third is cancelled.

    The change comes either between 2 s and 4.5 s or close to the due time.
    """
    operations = []
    for operation in events_created_early(random, created_s=(0.2, 1.8), due_s=(12, 15), events=36):
        operations.append(operation)
        third = operation.event // CLIENTS % 3
        due = operation.due_s or 0.0
        at = random.uniform(2.0, 4.5) if random.random() < 0.6 else due - random.uniform(*CLOSE_S)
        if third == 1:
            later = _due(random, int(due) + 1)
            operations.append(
                PlannedOperation(at_s=at, client=operation.client, do="move_event", event=operation.event, due_s=later)
            )
        elif third == 2:
            operations.append(
                PlannedOperation(at_s=at, client=operation.client, do="cancel_event", event=operation.event)
            )
    return operations


def address_changes(random: Random) -> list[PlannedOperation]:
    """Events created early whose first participant changes the address before the reminder is due."""
    operations = []
    for created in events_created_early(random, created_s=(0.2, 1.8), due_s=(11, 13), events=20):
        operations += [
            created,
            PlannedOperation(
                at_s=random.uniform(2.0, 4.5),
                client=created.client,
                do="change_address",
                event=created.event,
                users=created.users[:1],
                address=f"{created.event}@new.example",
            ),
        ]
    return operations


def created_or_moved_after_due(random: Random, *, seconds: Iterable[int]) -> list[PlannedOperation]:
    """For each full second, one event created and one event moved when the reminder is already due.

    Due a moment before the full second at which pollers poll, scheduled a moment after it.
    """
    operations = []
    for second in seconds:
        client, number = second % CLIENTS, 500 + second * 2
        due = second - random.uniform(0.05, 0.25)
        at = second + random.uniform(0.25, 0.45)
        users, users_of_moved = (user_id(client, number * 10),), (user_id(client, number * 10 + 1),)
        event, moved = event_id(client, number), event_id(client, number + 1)
        operations += [
            PlannedOperation(at_s=at, client=client, do="create_event", event=event, users=users, due_s=due),
            PlannedOperation(
                at_s=0.2, client=client, do="create_event", event=moved, users=users_of_moved, due_s=_due(random, 12)
            ),
            PlannedOperation(at_s=at + 0.1, client=client, do="move_event", event=moved, due_s=due),
        ]
    return operations


def due_at_poll(random: Random, *, seconds: Iterable[int], each: int) -> list[PlannedOperation]:
    """`each` events per second that fall due within `POLLS_WITHIN_S` after the full second, when polls start."""
    operations = []
    for second in seconds:
        for index in range(each):
            client, number = index % CLIENTS, second * 50 + index
            due = second + index * POLLS_WITHIN_S / each + random.uniform(0, POLLS_WITHIN_S / each)
            at = second - 2.5 + index / each + random.uniform(0, 1 / each)
            users = (user_id(client, number * 10),)
            operations.append(
                PlannedOperation(
                    at_s=at, client=client, do="create_event", event=event_id(client, number), users=users, due_s=due
                )
            )
    return operations


def large_events(
    random: Random, *, events: int, people: int, created_s: tuple[float, float], due_s: tuple[float, float]
) -> list[PlannedOperation]:
    """Events of `people` participants each, created at a steady pace in `created_s`, due in the same order in `due_s`.

    The participants are consecutive users of the client, and each user takes part in several events.
    """
    operations = []
    for number in range(events):
        client, share_of_due = number % CLIENTS, (number + random.random()) / events
        first = user_id(client, random.randrange(USERS_PER_CLIENT - people + 1))
        operations.append(
            PlannedOperation(
                at_s=_between(created_s, number / events),
                client=client,
                do="create_event",
                event=event_id(client, number // CLIENTS),
                users=tuple(range(first, first + people)),
                due_s=_between(due_s, share_of_due),
            )
        )
    return operations


def cancelled_event(*, created_s: float, cancelled_s: float, due_s: float) -> list[PlannedOperation]:
    """One event, created and cancelled at the given times."""
    event = event_id(0, 998)
    return [
        PlannedOperation(
            at_s=created_s, client=0, do="create_event", event=event, users=(user_id(0, 1998),), due_s=due_s
        ),
        PlannedOperation(at_s=cancelled_s, client=0, do="cancel_event", event=event),
    ]


def follow_ups(random: Random, *, seconds: int) -> list[PlannedOperation]:
    """Each second one follow-up of each kind; a third is cancelled and a third postponed close to its due time."""
    operations = []
    for second in range(seconds):
        for index, kind in enumerate(FOLLOW_UP_KINDS):
            client, number = (second + index) % CLIENTS, second * len(FOLLOW_UP_KINDS) + index
            row, due = event_id(client, number), _due(random, second + random.randint(3, 4))
            at = second + random.uniform(0.1, 0.9)
            user = (user_id(client, 5000 + number),)
            operations.append(
                PlannedOperation(at_s=at, client=client, do="begin", kind=kind, event=row, users=user, due_s=due)
            )
            close = due - random.uniform(*CLOSE_S)
            if (second + index) % 3 == 1:
                operations.append(PlannedOperation(at_s=close, client=client, do="call_off", kind=kind, event=row))
            elif (second + index) % 3 == 2:
                later = _due(random, int(due) + 1)
                operations.append(
                    PlannedOperation(at_s=close, client=client, do="postpone", kind=kind, event=row, due_s=later)
                )
    return operations


def simultaneous_payments(*, due_s: float, errands: int, apart_s: float) -> list[PlannedOperation]:
    """Errands whose payments fall due `apart_s` after one another, beginning at `due_s`."""
    return [
        PlannedOperation(
            at_s=0.2 + number * 0.02,
            client=number % CLIENTS,
            do="begin",
            kind="pay-errand",
            event=event_id(number % CLIENTS, 900 + number),
            users=(user_id(number % CLIENTS, 9000 + number),),
            due_s=due_s + number * apart_s,
        )
        for number in range(errands)
    ]


def event_id(client: int, number: int) -> int:
    return (client + 1) * 1000 + number


def user_id(client: int, number: int) -> int:
    return (client + 1) * 10_000 + number


def _event(
    random: Random, lifecycle: Lifecycle, *, client: int, number: int, second: int, horizon_s: int
) -> Iterator[PlannedOperation]:
    """The operations of one event; the sequence of calls of `random` decides what a seed means."""
    event = event_id(client, number)
    users = tuple(user_id(client, number * 10 + i) for i in range(random.randint(1, PARTICIPANTS)))
    created = second + random.uniform(0.0, 0.9)
    due = _due(random, second + random.randint(2, horizon_s))
    if lifecycle == "created_late":
        created = due - random.uniform(*CLOSE_S)
    yield PlannedOperation(at_s=created, client=client, do="create_event", event=event, users=users, due_s=due)

    close = due - random.uniform(*CLOSE_S)
    soon = created + random.uniform(0.3, 0.6)
    match lifecycle:
        case "unchanged" | "created_late":
            pass
        case "moved_later":
            yield PlannedOperation(
                at_s=close, client=client, do="move_event", event=event, due_s=_due(random, int(due) + 1)
            )
        case "moved_earlier":
            earlier = _due(random, int(due) - 1)
            at = max(soon, earlier - random.uniform(*CLOSE_S))
            if at < earlier - CLOSE_S[0]:
                yield PlannedOperation(at_s=at, client=client, do="move_event", event=event, due_s=earlier)
        case "cancelled":
            yield PlannedOperation(at_s=soon, client=client, do="cancel_event", event=event)
        case "cancelled_late":
            yield PlannedOperation(at_s=close, client=client, do="cancel_event", event=event)
        case "joined_and_left":
            guest = user_id(client, number * 10 + 9)
            yield PlannedOperation(at_s=soon, client=client, do="join_event", event=event, users=(guest,))
            yield PlannedOperation(at_s=close, client=client, do="leave_event", event=event, users=users[:1])
        case "address_changed":
            for at in (soon, close):
                address = f"{number}.{at:.0f}@new.example"
                yield PlannedOperation(
                    at_s=at, client=client, do="change_address", event=event, users=users[:1], address=address
                )
        case _:
            assert_never(lifecycle)


def _between(interval: tuple[float, float], share: float) -> float:
    return interval[0] + (interval[1] - interval[0]) * share


def _due(random: Random, second: int) -> float:
    return second + random.uniform(*WITHIN_SECOND_S)
