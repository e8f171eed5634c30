"""The tests of every design, through schedule() and cancel() alone. Each test file has its own `world` fixture."""

from __future__ import annotations

from typing import Protocol


class World(Protocol):
    """One design with all that a test of it needs, and a way to let time pass.

    rows: how many rows of other modules the last test had to write.
    """

    rows: int

    def schedule(self, revision: int, *, due_in_s: float) -> None: ...

    def cancel(self, revision: int) -> None: ...

    def pass_s(self, seconds: float) -> None: ...

    def delivered(self) -> list[int]:
        """Return the delivered revisions, in order."""


def test_a_due_notification_is_delivered_once(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.pass_s(3)
    world.pass_s(1)

    assert world.delivered() == [1]


def test_a_notification_that_is_not_due_is_not_delivered(world: World) -> None:
    world.schedule(1, due_in_s=60)
    world.pass_s(1)

    assert world.delivered() == []


def test_a_cancelled_notification_is_not_delivered(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.cancel(2)
    world.pass_s(3)

    assert world.delivered() == []


def test_of_two_revisions_only_the_newer_is_delivered(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.schedule(2, due_in_s=1.4)
    world.pass_s(3)

    assert world.delivered() == [2]
