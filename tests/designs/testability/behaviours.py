"""What is tested of each design, through schedule() and cancel() alone; a test file brings its `world`."""

from __future__ import annotations

from typing import Protocol


class World(Protocol):
    """One design, all that it takes to test it, and a way to let time pass.

    rows: how many rows the set-up of the last test wrote that the test itself is not about.
    """

    rows: int

    def schedule(self, revision: int, *, due_in_s: float) -> None: ...

    def cancel(self, revision: int) -> None: ...

    def pass_s(self, seconds: float) -> None: ...

    def arrived(self) -> list[int]:
        """The revisions that arrived, in order."""


def test_what_is_due_arrives_once(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.pass_s(3)
    world.pass_s(1)

    assert world.arrived() == [1]


def test_what_is_not_due_does_not_arrive(world: World) -> None:
    world.schedule(1, due_in_s=60)
    world.pass_s(1)

    assert world.arrived() == []


def test_what_was_cancelled_does_not_arrive(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.cancel(2)
    world.pass_s(3)

    assert world.arrived() == []


def test_of_two_revisions_the_newer_arrives(world: World) -> None:
    world.schedule(1, due_in_s=1.2)
    world.schedule(2, due_in_s=1.4)
    world.pass_s(3)

    assert world.arrived() == [2]
