"""The scenes of the guided tour: their texts, and the script of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from duetime.demo.session import DemoSession
from duetime.faults.fault import FaultKind


class Stage:
    """What a scene can do. events, faults: those of this scene only."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session
        self.events: list[int] = []
        self.faults: list[str] = []

    def schedule(self, *, in_s: float, people: int = 1) -> int:
        event = self.session.schedule(in_s=in_s, people=people)
        self.events.append(event)
        return event

    def inject(self, kind: FaultKind, target: str) -> str:
        fault = self.session.inject_fault(kind, target)
        self.faults.append(fault)
        return fault

    def heal(self, fault: str) -> None:
        self.session.heal_fault(fault)
        self.faults.remove(fault)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene.

    clause: the rule of the contract that it tests. scenario: the scenario of `duetime compare` with the same fault.
    """

    name: str
    title: str
    what: str
    goal: str
    button: str
    script: Callable[[Stage], None]
    lesson: str
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
    event = stage.schedule(in_s=10)
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
        what="The application calls schedule() once. The line begins at the call, the upright tick is the due time, "
        "and the shaded part is the time in which it may be delivered.",
        goal="One dot in each lane: delivered.",
        button="Schedule one",
        script=_arrive,
        lesson="The read model sleeps until the due time, the queue's worker has set a timer, and the poller polls at "
        "the next full second. All three are in time.",
        clause="Every acknowledged notification is delivered by its deadline.",
        scenario="calm",
    ),
    Scene(
        name="cancel",
        title="Cancel it",
        what="The event is cancelled while its reminder is waiting.",
        goal="No dot in any lane.",
        button="Schedule one and cancel it",
        script=_cancel,
        lesson="The read model deletes a row, and the poller reads that the event is cancelled. The queue sends "
        "its workers a revoke, so that they skip the task; they keep revokes in memory.",
        clause="After an acknowledged cancel nothing is delivered; a delivery is a phantom.",
        scenario="move_and_cancel",
    ),
    Scene(
        name="move",
        title="Move it",
        what="The event moves to a later time; its reminder gets a second revision.",
        goal="One dot in each lane, at the new time.",
        button="Schedule one and move it",
        script=_move,
        lesson="The new revision has the same key. A delivery of the old one would be stale.",
        clause="After a newer revision is acknowledged, the older one is not delivered; a delivery is stale.",
        scenario="move_and_cancel",
    ),
    Scene(
        name="add",
        title="Add a worker",
        what="A second worker is added, and removed again.",
        goal="Which lanes show duplicates?",
        button="Add a worker",
        script=_add_worker,
        lesson="Each of the poller's workers runs a beat, and each beat requests the same poll. The read "
        "model's workers skip rows that another worker has locked; a queue gives each message to one worker.",
        clause="Every notification is delivered once; another delivery is a duplicate.",
        scenario="more_servers",
    ),
    Scene(
        name="downtime",
        title="All workers down",
        what="All workers are down for five seconds while reminders fall due.",
        goal="Which designs still deliver what fell due meanwhile? The hatched time is excused: no design has to "
        "deliver while its workers are down.",
        button="Kill all, and restart",
        script=_downtime,
        lesson="The poller reads the present window only, so what fell due while it was down is missed. The read "
        "model's rows are still there. The queue's tasks were in the memory of the killed workers, and the broker "
        "returns them after an hour.",
        clause="A fault excuses lateness, never loss: once it is healed, every notification must be delivered.",
        scenario="downtime",
    ),
    Scene(
        name="cancel-while-down",
        title="Cancel while down",
        what="An event is created and cancelled while all workers are down.",
        goal="No dot: the cancel was acknowledged, so it must hold.",
        button="Kill all, create, cancel, restart",
        script=_cancel_while_down,
        lesson="The read model's deleted row stays deleted. The queue broadcasts a revoke to the running workers, and "
        "none was running: the message waits in the broker, and a worker that starts later delivers it.",
        clause="An acknowledged cancel holds, whatever happens to the workers.",
        scenario="downtime",
    ),
    Scene(
        name="kill",
        title="One kill, three outcomes",
        what="There are two workers, and one is killed while it delivers.",
        goal="Missed, duplicate or both? Compare the lanes.",
        button="Kill one while it delivers",
        script=_kill,
        lesson="The read model's database rolls the batch back, and the other worker delivers it again: at most one "
        "batch of duplicates. The queue acknowledges a task when it begins, so the tasks that the killed worker had "
        "begun are lost. The tasks that it still held are stuck: the broker returns them after an hour. Both are "
        "missed. The poller delivers everything twice in any case, once from each worker.",
        clause="At least once or at most once: a crash between a delivery and its record must lose or duplicate.",
        scenario="crash",
    ),
    Scene(
        name="broker",
        title="Restart the broker",
        what="Valkey is killed and started again a second later.",
        goal="Which designs need the broker?",
        button="Restart the broker",
        script=_restart_broker,
        lesson="The read model reads its database and is not affected. The poller's ticks and the queue's tasks go "
        "through the broker. Workers reconnect after two, four and six seconds, and the broker had stored nothing on "
        "disk.",
        clause="A fault excuses lateness, never loss.",
        scenario="broker_restart_none",
    ),
)
