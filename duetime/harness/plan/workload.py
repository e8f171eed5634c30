"""What the users do during a run: a stream of events, each with a story, in which no two seeds agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal, assert_never, get_args

from duetime.harness.plan.plan import FollowUpKind, PlannedOperation

Story = Literal[
    "plain",
    "created_late",
    "moved_later",
    "moved_earlier",
    "cancelled",
    "joined_and_left",
    "readdressed",
    "cancelled_late",
]
STORIES: tuple[Story, ...] = (
    "plain",
    "cancelled",
    "created_late",
    "moved_later",
    "readdressed",
    "cancelled_late",
    "moved_earlier",
    "joined_and_left",
)
FOLLOW_UP_KINDS = get_args(FollowUpKind)
CLIENTS = 2
EVENTS_A_SECOND = 2
"""Per client."""
PARTICIPANTS = 3
"""The most that one event has at first."""
TOWN = 10_000
"""As many users as a client can have."""

TICKS_WITHIN_S = 0.04
"""How long after the full second a poll may look, on a busy machine."""
CLOSE_S = (0.5, 0.9)
"""How long before it is due something is created, moved or cancelled "close to its due time"."""
WITHIN_SECOND_S = (0.40, 0.85)
"""Where in a second a reminder falls due. Polls run at the full second: these scenarios keep clear of them, so that
what is seen is their own fault and not the jitter of ticks."""


def stories(random: Random, *, seconds: int, horizon_s: int) -> list[PlannedOperation]:
    """Operations that begin within `seconds`; each reminder falls due at most `horizon_s` + 1 s after its creation."""
    operations: list[PlannedOperation] = []
    for client in range(CLIENTS):
        for number in range(seconds * EVENTS_A_SECOND):
            # Offset by client, so that each story begins somewhere in every two seconds, whatever the seed.
            story = STORIES[(number + client * len(STORIES) // 2) % len(STORIES)]
            second = number // EVENTS_A_SECOND
            operations += _story(random, story, client=client, number=number, second=second, horizon_s=horizon_s)
    return operations


def simultaneous_event(
    *, due_s: float, people: int, number: int = 999, client: int = 0, at_s: float = 0.2
) -> list[PlannedOperation]:
    """One event whose reminders all fall due at the same instant: work enough to be killed in the middle of it.

    number: of the event; such events are numbered apart from those with a story, and their users too.
    """
    users = tuple(100_000 * number + 10_000 * client + guest for guest in range(people))
    return [
        PlannedOperation(
            at_s=at_s, client=client, do="create_event", event=event_id(client, number), users=users, due_s=due_s
        )
    ]


def plain(
    random: Random, *, seconds: int, horizon_s: int, clients: Sequence[int] = range(CLIENTS)
) -> list[PlannedOperation]:
    """Events that are created and left alone."""
    return [
        operation
        for client in clients
        for number in range(seconds * EVENTS_A_SECOND)
        for operation in _story(
            random, "plain", client=client, number=number, second=number // EVENTS_A_SECOND, horizon_s=horizon_s
        )
    ]


def rolled_back(random: Random, *, seconds: int) -> list[PlannedOperation]:
    """Each second an event whose creation is rolled back, and one that stays as it was because its move is."""
    operations = []
    for second in range(seconds):
        client, number = second % CLIENTS, 700 + second * 2
        due = _due(random, second + 3)
        mine = (user_id(client, number * 10),)
        other = (user_id(client, number * 10 + 1),)
        event, moved = event_id(client, number), event_id(client, number + 1)
        at = second + random.uniform(0.1, 0.4)
        operations += [
            PlannedOperation(
                at_s=at, client=client, do="create_event", event=event, users=mine, due_s=due, rolled_back=True
            ),
            PlannedOperation(at_s=at + 0.1, client=client, do="create_event", event=moved, users=other, due_s=due),
            PlannedOperation(
                at_s=at + 0.5, client=client, do="move_event", event=moved, due_s=due + 2, rolled_back=True
            ),
        ]
    return operations


def long_planned(
    random: Random, *, created_s: tuple[float, float], due_s: tuple[int, int], events: int
) -> list[PlannedOperation]:
    """Events created early for much later."""
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
    """Client 1 carries out the migration then, and nothing else after it; client 0 goes on."""
    return [
        *(op for op in stories(random, seconds=11, horizon_s=5) if op.client == 0 or op.at_s < at_s - 0.2),
        *long_planned(random, created_s=(0.2, 2.5), due_s=(8, 14), events=24),
        PlannedOperation(at_s=at_s, client=1, do="migrate", event=0),
    ]


def changes(random: Random) -> list[PlannedOperation]:
    """Long-planned events, of which a third is left alone, a third is moved and a third is called off.

    Changed either between 2 s and 4.5 s, or close to the time at which the reminder would have come.
    """
    operations = []
    for operation in long_planned(random, created_s=(0.2, 1.8), due_s=(12, 15), events=36):
        operations.append(operation)
        what = operation.event // CLIENTS % 3
        due = operation.due_s or 0.0
        at = random.uniform(2.0, 4.5) if random.random() < 0.6 else due - random.uniform(*CLOSE_S)
        if what == 1:
            later = _due(random, int(due) + 1)
            operations.append(
                PlannedOperation(at_s=at, client=operation.client, do="move_event", event=operation.event, due_s=later)
            )
        elif what == 2:
            operations.append(
                PlannedOperation(at_s=at, client=operation.client, do="cancel_event", event=operation.event)
            )
    return operations


def readdressed(random: Random) -> list[PlannedOperation]:
    """Long-planned events whose first participant gets another address meanwhile."""
    operations = []
    for planned in long_planned(random, created_s=(0.2, 1.8), due_s=(11, 13), events=20):
        address = f"{planned.event}@new.example"
        operations += [
            planned,
            PlannedOperation(
                at_s=random.uniform(2.0, 4.5),
                client=planned.client,
                do="change_address",
                event=planned.event,
                users=planned.users[:1],
                address=address,
            ),
        ]
    return operations


def just_too_late(random: Random, *, seconds: Iterable[int]) -> list[PlannedOperation]:
    """Around each full second, one event that is created and one that is moved when the reminder is already due.

    Due a moment before the full second at which pollers look, and known only a moment after it.
    """
    operations = []
    for second in seconds:
        client, number = second % CLIENTS, 500 + second * 2
        due = second - random.uniform(0.05, 0.25)
        at = second + random.uniform(0.25, 0.45)
        mine, other = (user_id(client, number * 10),), (user_id(client, number * 10 + 1),)
        event, moved = event_id(client, number), event_id(client, number + 1)
        operations += [
            PlannedOperation(at_s=at, client=client, do="create_event", event=event, users=mine, due_s=due),
            PlannedOperation(
                at_s=0.2, client=client, do="create_event", event=moved, users=other, due_s=_due(random, 12)
            ),
            PlannedOperation(at_s=at + 0.1, client=client, do="move_event", event=moved, due_s=due),
        ]
    return operations


def due_at_poll(random: Random, *, seconds: Iterable[int], each: int) -> list[PlannedOperation]:
    """Events that fall due within the few hundredths of a second after each full second in which ticks really come."""
    operations = []
    for second in seconds:
        for place in range(each):
            client, number = place % CLIENTS, second * 50 + place
            due = second + place * TICKS_WITHIN_S / each + random.uniform(0, TICKS_WITHIN_S / each)
            at = second - 2.5 + place / each + random.uniform(0, 1 / each)
            users = (user_id(client, number * 10),)
            operations.append(
                PlannedOperation(
                    at_s=at, client=client, do="create_event", event=event_id(client, number), users=users, due_s=due
                )
            )
    return operations


def crowds(
    random: Random, *, events: int, people: int, created_s: tuple[float, float], due_s: tuple[float, float]
) -> list[PlannedOperation]:
    """Events of as many `people` each, created at an even pace, and due at another in the same order.

    The people are neighbours in a town, of which each client has its own, and take part in several.
    """
    operations = []
    for number in range(events):
        client, done = number % CLIENTS, (number + random.random()) / events
        first = user_id(client, random.randrange(TOWN - people + 1))
        operations.append(
            PlannedOperation(
                at_s=_between(created_s, number / events),
                client=client,
                do="create_event",
                event=event_id(client, number // CLIENTS),
                users=tuple(range(first, first + people)),
                due_s=_between(due_s, done),
            )
        )
    return operations


def called_off(*, created_s: float, called_off_s: float, due_s: float) -> list[PlannedOperation]:
    """One event created and called off at given times: the reminder must not come, whatever happens in between."""
    event = event_id(0, 998)
    return [
        PlannedOperation(
            at_s=created_s, client=0, do="create_event", event=event, users=(user_id(0, 1998),), due_s=due_s
        ),
        PlannedOperation(at_s=called_off_s, client=0, do="cancel_event", event=event),
    ]


def follow_ups(random: Random, *, seconds: int) -> list[PlannedOperation]:
    """Each second one of each kind begins; a third of them is called off before it is due, and a third postponed."""
    operations = []
    for second in range(seconds):
        for place, kind in enumerate(FOLLOW_UP_KINDS):
            client, number = (second + place) % CLIENTS, second * len(FOLLOW_UP_KINDS) + place
            row, due = event_id(client, number), _due(random, second + random.randint(3, 4))
            at = second + random.uniform(0.1, 0.9)
            user = (user_id(client, 5000 + number),)
            operations.append(
                PlannedOperation(at_s=at, client=client, do="begin", kind=kind, event=row, users=user, due_s=due)
            )
            close = due - random.uniform(*CLOSE_S)
            if (second + place) % 3 == 1:
                operations.append(PlannedOperation(at_s=close, client=client, do="call_off", kind=kind, event=row))
            elif (second + place) % 3 == 2:
                later = _due(random, int(due) + 1)
                operations.append(
                    PlannedOperation(at_s=close, client=client, do="postpone", kind=kind, event=row, due_s=later)
                )
    return operations


def wages(*, due_s: float, errands: int, apart_s: float) -> list[PlannedOperation]:
    """Errands that are all to be paid at about the same time: money that is easily sent twice."""
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
    """Users belong to one client, as events do: two clients never change the same notification."""
    return (client + 1) * 10_000 + number


def _story(
    random: Random, story: Story, *, client: int, number: int, second: int, horizon_s: int
) -> Iterator[PlannedOperation]:
    event = event_id(client, number)
    users = tuple(user_id(client, number * 10 + i) for i in range(random.randint(1, PARTICIPANTS)))
    created = second + random.uniform(0.0, 0.9)
    due = _due(random, second + random.randint(2, horizon_s))
    if story == "created_late":
        created = due - random.uniform(*CLOSE_S)
    yield PlannedOperation(at_s=created, client=client, do="create_event", event=event, users=users, due_s=due)

    close = due - random.uniform(*CLOSE_S)
    soon = created + random.uniform(0.3, 0.6)
    match story:
        case "plain" | "created_late":
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
        case "readdressed":
            for at in (soon, close):
                address = f"{number}.{at:.0f}@new.example"
                yield PlannedOperation(
                    at_s=at, client=client, do="change_address", event=event, users=users[:1], address=address
                )
        case _:
            assert_never(story)


def _between(span: tuple[float, float], share: float) -> float:
    return span[0] + (span[1] - span[0]) * share


def _due(random: Random, second: int) -> float:
    return second + random.uniform(*WITHIN_SECOND_S)
