"""When a participant is idle, so that the next step may be taken."""

from __future__ import annotations

import pytest

from duetime.explore.execution import Execution
from duetime.explore.participants import Connection, Participant


@pytest.mark.parametrize(
    ("running", "blocked", "idle"),
    [(False, False, True), (True, False, False), (True, True, True)],
)
def test_who_delivers_is_idle_once_the_query_before_it_is_done(running: bool, blocked: bool, idle: bool) -> None:
    """The message about the delivery and the one about the query come from two processes, in any order.

    If the first were enough, a commit would count as one after the delivery, and a kill would explain no repeat of it.
    """
    execution = object.__new__(Execution)
    participant = Participant("worker-1", delivering={"op": "k/1", "attempt": 1})
    execution._connections = {1: Connection("worker-1", 1, running=running)}
    execution._blocked = {1} if blocked else set()

    assert execution._at_rest(participant) is idle
