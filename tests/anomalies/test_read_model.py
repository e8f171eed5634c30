"""What goes wrong with the read model, every time: a batch repeated, a batch lost, an answer lost."""

from __future__ import annotations

from collections.abc import Callable

from duetime.failpoints import Failpoint
from duetime.gateway import TROUBLE, Trouble
from tests.anomalies.conftest import World, until

Make = Callable[..., World]


def test_a_server_killed_after_a_delivery_has_that_delivery_repeated(world: Make) -> None:
    w = world("push_readmodel")
    w.schedule("a", "b", "c")
    w.arm(Failpoint(point="after_deliver", action="kill", nth=2))

    with w.server(doomed=True) as killed:
        until(killed.main_ended)
    before = w.delivered()
    w.disarm()
    with w.server():
        until(lambda: not w.pending())

    assert before == {"a": 1, "b": 1}
    assert w.delivered() == {"a": 2, "b": 2, "c": 1}


def test_killed_before_the_delivery_nothing_is_lost_and_nothing_repeated(world: Make) -> None:
    w = world("push_readmodel")
    w.schedule("a")
    w.arm(Failpoint(point="before_deliver", action="kill"))

    with w.server(doomed=True) as killed:
        until(killed.main_ended)
    assert w.pending() == {"a/1": "row in pending_notifications after 0 failed attempts"}
    w.disarm()
    with w.server():
        until(lambda: not w.pending())

    assert w.delivered() == {"a": 1}


def test_deleted_first_what_a_killed_server_had_taken_is_lost(world: Make) -> None:
    w = world("push_readmodel:delete_first")
    w.schedule("a", "b", "c")
    w.arm(Failpoint(point="after_deliver", action="kill", nth=2))

    with w.server(doomed=True) as killed:
        until(killed.main_ended)

    assert w.delivered() == {"a": 1, "b": 1}
    assert w.pending() == {}


def test_a_lost_answer_makes_it_repeat_and_deleting_first_does_not(world: Make) -> None:
    for name, times in (("push_readmodel", 2), ("push_readmodel:delete_first", 1)):
        w = world(name)
        key = name.rpartition(":")[2]
        trouble = w.settings.deliveries.with_name(TROUBLE)
        Trouble(mode="lose_answer", only=(key,)).begin(trouble)
        w.schedule(key)

        with w.server():
            until(lambda: w.delivered()[key] == 1)  # noqa: B023 - called before the loop goes on
            Trouble.end(trouble)
            until(lambda: not w.pending())  # noqa: B023

        assert w.delivered()[key] == times


def test_an_application_killed_after_its_commit_has_scheduled(world: Make) -> None:
    w = world("push_readmodel")
    w.arm(Failpoint(point="after_commit", action="kill"))

    assert w.application("a", in_s=3600) == -9
    assert list(w.pending()) == ["a/1"]


def test_an_application_killed_before_its_commit_has_not(world: Make) -> None:
    w = world("push_readmodel")
    w.arm(Failpoint(point="before_commit", action="kill"))

    assert w.application("a", in_s=3600) == -9
    assert w.pending() == {}
