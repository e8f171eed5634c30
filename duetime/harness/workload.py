"""What the users do during a run: a stream of events, each with a story, in which no two seeds agree."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal, assert_never

from duetime.harness.plan import Operation

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
CLIENTS = 2
EVENTS_A_SECOND = 2
"""Per client."""
PARTICIPANTS = 3
"""The most that one event has at first."""

CLOSE_S = (0.5, 0.9)
"""How long before it is due something is created, moved or cancelled "close to its due time"."""
WITHIN_SECOND_S = (0.40, 0.85)
"""Where in a second a reminder falls due. Polls run at the full second: these scenarios keep clear of them, so that
what is seen is their own fault and not the jitter of ticks."""


def stories(random: Random, *, seconds: int, horizon_s: int) -> list[Operation]:
    """Operations that begin within `seconds`; each reminder falls due at most `horizon_s` + 1 s after its creation."""
    operations: list[Operation] = []
    for client in range(CLIENTS):
        for number in range(seconds * EVENTS_A_SECOND):
            # Offset by client, so that each story begins somewhere in every two seconds, whatever the seed.
            story = STORIES[(number + client * len(STORIES) // 2) % len(STORIES)]
            second = number // EVENTS_A_SECOND
            operations += _story(random, story, client=client, number=number, second=second, horizon_s=horizon_s)
    return operations


def gathering(*, due_s: float, people: int) -> list[Operation]:
    """One event whose reminders all fall due at the same instant: work enough to be killed in the middle of it."""
    users = tuple(user_id(0, 1000 + number) for number in range(people))
    return [Operation(at_s=0.2, client=0, do="create_event", event=event_id(0, 999), users=users, due_s=due_s)]


def called_off(*, created_s: float, called_off_s: float, due_s: float) -> list[Operation]:
    """One event created and called off at given times: the reminder must not come, whatever happens in between."""
    event = event_id(0, 998)
    return [
        Operation(at_s=created_s, client=0, do="create_event", event=event, users=(user_id(0, 1998),), due_s=due_s),
        Operation(at_s=called_off_s, client=0, do="cancel_event", event=event),
    ]


def event_id(client: int, number: int) -> int:
    return (client + 1) * 1000 + number


def user_id(client: int, number: int) -> int:
    """Users belong to one client, as events do: two clients never change the same notification."""
    return (client + 1) * 10_000 + number


def _story(
    random: Random, story: Story, *, client: int, number: int, second: int, horizon_s: int
) -> Iterator[Operation]:
    event = event_id(client, number)
    users = tuple(user_id(client, number * 10 + i) for i in range(random.randint(1, PARTICIPANTS)))
    created = second + random.uniform(0.0, 0.9)
    due = _due(random, second + random.randint(2, horizon_s))
    if story == "created_late":
        created = due - random.uniform(*CLOSE_S)
    yield Operation(at_s=created, client=client, do="create_event", event=event, users=users, due_s=due)

    close = due - random.uniform(*CLOSE_S)
    soon = created + random.uniform(0.3, 0.6)
    match story:
        case "plain" | "created_late":
            pass
        case "moved_later":
            yield Operation(at_s=close, client=client, do="move_event", event=event, due_s=_due(random, int(due) + 1))
        case "moved_earlier":
            earlier = _due(random, int(due) - 1)
            at = max(soon, earlier - random.uniform(*CLOSE_S))
            if at < earlier - CLOSE_S[0]:
                yield Operation(at_s=at, client=client, do="move_event", event=event, due_s=earlier)
        case "cancelled":
            yield Operation(at_s=soon, client=client, do="cancel_event", event=event)
        case "cancelled_late":
            yield Operation(at_s=close, client=client, do="cancel_event", event=event)
        case "joined_and_left":
            guest = user_id(client, number * 10 + 9)
            yield Operation(at_s=soon, client=client, do="join_event", event=event, users=(guest,))
            yield Operation(at_s=close, client=client, do="leave_event", event=event, users=users[:1])
        case "readdressed":
            for at in (soon, close):
                address = f"{number}.{at:.0f}@new.example"
                yield Operation(
                    at_s=at, client=client, do="change_address", event=event, users=users[:1], address=address
                )
        case _:
            assert_never(story)


def _due(random: Random, second: int) -> float:
    return second + random.uniform(*WITHIN_SECOND_S)
