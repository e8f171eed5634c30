"""The scenes of the guided tour: their texts, and the script of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from duetime.demo.session import DemoSession
from duetime.errors import DuetimeError
from duetime.faults.fault import FaultKind


class Abandoned(DuetimeError):
    """The scene was ended from outside."""


class Stage:
    """What a scene can do. events, faults: those of this scene only. active: its faults that are not healed."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session
        self.events: list[int] = []
        self.faults: list[str] = []
        self.active: list[str] = []
        self._abandoned = threading.Event()

    def schedule(self, *, in_s: float, people: int = 1) -> int:
        self.wait(0)
        event = self.session.schedule(in_s=in_s, people=people)
        self.events.append(event)
        return event

    def inject(self, kind: FaultKind, target: str) -> str:
        self.wait(0)
        fault = self.session.inject_fault(kind, target)
        self.faults.append(fault)
        self.active.append(fault)
        return fault

    def heal(self, fault: str) -> None:
        self.wait(0)
        self.session.heal_fault(fault)
        self.active.remove(fault)

    def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            Abandoned: the scene was abandoned meanwhile.
        """
        if self._abandoned.wait(seconds):
            raise Abandoned("the scene was ended")

    def abandon(self) -> None:
        self._abandoned.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene.

    asks: the violations to predict before it is played. clause: the rule of the contract that it tests.
    scenario: the scenario of `duetime compare` with the same fault.
    """

    name: str
    title: str
    what: str
    asks: tuple[str, ...]
    button: str
    script: Callable[[Stage], None]
    clause: str
    scenario: str


def _arrive(stage: Stage) -> None:
    stage.schedule(in_s=4)


def _cancel(stage: Stage) -> None:
    event = stage.schedule(in_s=6)
    stage.wait(2.5)
    stage.session.cancel(event)


def _move(stage: Stage) -> None:
    event = stage.schedule(in_s=5)
    stage.wait(2)
    stage.session.move(event, by_s=4)


def _add_worker(stage: Stage) -> None:
    added = stage.inject("worker_added", stage.session.next_worker_name())
    for in_s in (3.5, 4.5, 5.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(7.5)
    stage.heal(added)


def _downtime(stage: Stage) -> None:
    for in_s in (4.5, 5.5, 6.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(3)
    down = stage.inject("kill", "all")
    stage.wait(4.5)
    stage.heal(down)


def _cancel_while_down(stage: Stage) -> None:
    down = stage.inject("kill", "all")
    # Due some seconds after the restart: what is delivered so soon after a fault that the cancel was still on its way
    # is not judged.
    event = stage.schedule(in_s=12)
    stage.wait(1.5)
    stage.session.cancel(event)
    stage.wait(1)
    stage.heal(down)


def _kill(stage: Stage) -> None:
    added = stage.inject("worker_added", stage.session.next_worker_name())
    stage.schedule(in_s=3, people=12)
    stage.wait(2.9)
    killed = stage.inject("kill", "delivering")
    stage.wait(2)
    stage.heal(killed)
    stage.heal(added)


def _restart_broker(stage: Stage) -> None:
    for in_s in (4.5, 5.5, 6.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(3)
    down = stage.inject("broker_kill", "broker")
    stage.wait(1)
    stage.heal(down)


SCENES = (
    Scene(
        name="arrive",
        title="Schedule one",
        what="The application schedules one reminder. In each lane below, its line begins at that call and ends in an "
        "upright tick, the due time. It must arrive in the shaded part after the tick: a dot. The orange line is now.",
        asks=("missed",),
        button="Schedule one",
        script=_arrive,
        clause="What was accepted is delivered by its deadline.",
        scenario="calm",
    ),
    Scene(
        name="cancel",
        title="Cancel it",
        what="A reminder is scheduled, and its event is cancelled 2.5 seconds later, before it is due: its line ends. "
        "No dot may follow.",
        asks=("phantom",),
        button="Schedule one and cancel it",
        script=_cancel,
        clause="After an accepted cancel nothing is delivered; a delivery is a phantom.",
        scenario="move_and_cancel",
    ),
    Scene(
        name="move",
        title="Move it",
        what="A reminder is scheduled, and its event moves to four seconds later. Its line goes on to the new due "
        "time, where the dot belongs. A dashed tick is the old due time.",
        asks=("stale",),
        button="Schedule one and move it",
        script=_move,
        clause="After a move is accepted, nothing is delivered for the old time; a delivery is stale.",
        scenario="move_and_cancel",
    ),
    Scene(
        name="add",
        title="Add a worker",
        what="Each design gets a second worker. Then six reminders fall due. Each may arrive once.",
        asks=("duplicate",),
        button="Add a worker",
        script=_add_worker,
        clause="Each notification is delivered once; another delivery is a duplicate.",
        scenario="more_servers",
    ),
    Scene(
        name="downtime",
        title="All down",
        what="All workers are killed, six reminders fall due, and the workers start again. In the hatched time a "
        "delivery may be late: nobody can deliver while all are down.",
        asks=("missed",),
        button="Kill all, and restart",
        script=_downtime,
        clause="A fault excuses a delay, never a loss.",
        scenario="downtime",
    ),
    Scene(
        name="cancel-while-down",
        title="Cancel while down",
        what="All workers are killed. Then a reminder is scheduled, its event is cancelled, and the workers start "
        "again.",
        asks=("phantom",),
        button="Kill all, create, cancel, restart",
        script=_cancel_while_down,
        clause="An accepted cancel holds, whatever happens to the workers.",
        scenario="downtime",
    ),
    Scene(
        name="kill",
        title="Kill one of two",
        what="Each design has two workers, and twelve reminders fall due at once. One worker of each is killed while "
        "it delivers.",
        asks=("missed", "duplicate"),
        button="Kill one while it delivers",
        script=_kill,
        clause="A crash between a delivery and its record must lose or duplicate: at most once, or at least once.",
        scenario="crash",
    ),
    Scene(
        name="broker",
        title="Restart broker",
        what="The broker, Valkey, is killed and started again a second later. It had stored nothing on disk. Six "
        "reminders fall due.",
        asks=("missed",),
        button="Restart the broker",
        script=_restart_broker,
        clause="A fault excuses a delay, never a loss.",
        scenario="broker_restart_none",
    ),
)
