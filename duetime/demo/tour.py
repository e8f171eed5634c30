"""The guided tour: scenes with one idea each, played over the real processes, and told by what became of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from duetime.demo.session import DemoSession
from duetime.errors import DuetimeError
from duetime.faults.fault import FaultKind
from duetime.report.lane import Numbers

SETTLED = ("delivered", "missed", "none_due", "indeterminate")
CERTAIN_WITHIN_S = 60.0
"""A scene is over by then: longer than the longest deadline of any, with every recovery."""
TOLD = ("missed", "duplicate", "late", "early", "phantom", "stale")


class Stage:
    """What a scene may do: schedule, hurt, wait. It remembers which events are its own."""

    def __init__(self, live: DemoSession) -> None:
        self.live = live
        self.events: list[int] = []
        self.faults: list[str] = []

    def schedule(self, *, in_s: float, people: int = 1) -> int:
        event = self.live.schedule(in_s=in_s, people=people)
        self.events.append(event)
        return event

    def do(self, kind: FaultKind, target: str) -> str:
        fault = self.live.do(kind, target)
        self.faults.append(fault)
        return fault

    def undo(self, fault: str) -> None:
        self.live.undo(fault)
        self.faults.remove(fault)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One idea. clause: what was tested, in the checker's terms. again: the scenario that shows it without a viewer."""

    name: str
    title: str
    what: str
    goal: str
    button: str
    play: Callable[[Stage], None]
    lesson: str
    clause: str
    again: str


def _arrive(stage: Stage) -> None:
    stage.schedule(in_s=4)


def _call_off(stage: Stage) -> None:
    event = stage.schedule(in_s=6)
    stage.wait(2.5)
    stage.live.cancel(event)


def _move(stage: Stage) -> None:
    event = stage.schedule(in_s=5)
    stage.wait(2)
    stage.live.move(event, by_s=4)


def _add(stage: Stage) -> None:
    added = stage.do("worker_added", stage.live.next_worker_name())
    for in_s in (3.5, 4.5, 5.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(7.5)
    stage.undo(added)


def _downtime(stage: Stage) -> None:
    for in_s in (4.5, 5.5, 6.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(3)
    down = stage.do("kill", "all")
    stage.wait(4.5)
    stage.undo(down)


def _call_off_unheard(stage: Stage) -> None:
    down = stage.do("kill", "all")
    event = stage.schedule(in_s=10)
    stage.wait(1.5)
    stage.live.cancel(event)
    stage.wait(1)
    stage.undo(down)


def _kill(stage: Stage) -> None:
    added = stage.do("worker_added", stage.live.next_worker_name())
    stage.schedule(in_s=3, people=12)
    stage.wait(2.9)
    killed = stage.do("kill", "delivering")
    stage.wait(2)
    stage.undo(killed)
    stage.undo(added)


def _broker(stage: Stage) -> None:
    for in_s in (4.5, 5.5, 6.5):
        stage.schedule(in_s=in_s, people=2)
    stage.wait(3)
    down = stage.do("broker_kill", "broker")
    stage.wait(1)
    stage.undo(down)


SCENES = (
    Scene(
        name="arrive",
        title="Schedule one, watch it arrive",
        what="An application calls schedule() once. The line begins when the call was made; the upright tick is when "
        "the reminder is due; the shaded part is the time in which it may come.",
        goal="A dot in each lane: delivered.",
        button="Schedule one",
        play=_arrive,
        lesson="The read model sleeps until exactly then, the queue's worker has set a timer, and the poller looks at "
        "the next full second. All three are in time.",
        clause="Every acknowledged notification is delivered by its deadline.",
        again="calm",
    ),
    Scene(
        name="call-off",
        title="Call it off",
        what="The event is cancelled while its reminder is waiting.",
        goal="No dot in any lane.",
        button="Schedule one and cancel it",
        play=_call_off,
        lesson="The read model deletes a row, the poller sees that the event is off, and the queue tells its workers "
        "to skip a task that they hold: they keep that in memory.",
        clause="After an acknowledged cancel nothing comes: else it is a phantom.",
        again="move_and_cancel",
    ),
    Scene(
        name="move",
        title="Move it",
        what="The event begins later than was planned; its reminder has a second revision.",
        goal="One dot in each lane, at the new time.",
        button="Schedule one and move it",
        play=_move,
        lesson="Same key, newer revision: whoever delivers the older one as well is stale.",
        clause="After a newer revision is acknowledged, the older one does not come: else it is stale.",
        again="move_and_cancel",
    ),
    Scene(
        name="add",
        title="A second server",
        what="One server more, as anybody would add it, and it is taken away again.",
        goal="Who sends twice now?",
        button="Add a server",
        play=_add,
        lesson="Each of the poller's servers has a clock of its own, and each clock asks for the same poll. The read "
        "model's servers skip the rows that another has locked; a queue gives each message to one.",
        clause="Every notification is delivered once: else it is a duplicate.",
        again="more_servers",
    ),
    Scene(
        name="downtime",
        title="All servers down",
        what="Everything is down while reminders fall due, and is up again five seconds later.",
        goal="Who remembers what fell due meanwhile? The hatched time is excused: nobody has to deliver while down.",
        button="Take all down, and up again",
        play=_downtime,
        lesson="The poller only ever looks at the present window: what fell due while nobody looked is lost. The read "
        "model's rows are still there. The queue's tasks were in the memory of the killed workers, and the broker "
        "gives them back after an hour.",
        clause="A fault excuses lateness, never loss: once it is over, everything owed must come.",
        again="downtime",
    ),
    Scene(
        name="unheard",
        title="Called off while nobody listens",
        what="The event is announced and called off again while all servers are down.",
        goal="No dot: the cancel was acknowledged, and it must hold.",
        button="Take all down, announce, call off, bring up",
        play=_call_off_unheard,
        lesson="A row that was deleted stays deleted. A queue's revoke is a broadcast to the workers that are up, and "
        "there was none: the message waits in the broker, and whoever comes up knows nothing of the cancel.",
        clause="An acknowledged cancel holds, whatever happens to the servers.",
        again="downtime",
    ),
    Scene(
        name="kill",
        title="Same kill, three outcomes",
        what="Two servers; one is killed in the middle of its deliveries.",
        goal="Missed, duplicate or both? Compare the lanes.",
        button="Kill one in the middle",
        play=_kill,
        lesson="The read model rolls the batch back, and the other server repeats what the dead one had delivered: at "
        "most one batch. The queue acknowledges before it works, so what the dead one had begun or held is not "
        "repeated and does not come. The poller sends everything twice anyway, once from each server.",
        clause="At least once or at most once: between a delivery and its record a crash must lose or repeat.",
        again="crash",
    ),
    Scene(
        name="broker",
        title="The broker restarts",
        what="Valkey is killed and started again a second later.",
        goal="Who needs the broker?",
        button="Restart the broker",
        play=_broker,
        lesson="The read model asks its database and does not notice. The poller's ticks and the queue's tasks travel "
        "through the broker; workers come back to it after two, four and six seconds, and it kept nothing on disk.",
        clause="A fault excuses lateness, never loss.",
        again="broker_restart_none",
    ),
)


@dataclass(slots=True)
class Playing:
    """A scene that was begun.

    phase: ``playing`` until its script is over, ``waiting`` until all is certain, ``over``.
    """

    scene: Scene
    stage: Stage
    phase: str = "playing"
    error: str = ""
    outcome: list[Mapping[str, Any]] = field(default_factory=list)
    certain_by: float = inf
    seen: dict[tuple[str, str], Numbers] = field(default_factory=dict)


class Tour:
    """Plays one scene at a time."""

    def __init__(self, live: DemoSession) -> None:
        self._live = live
        self._lock = threading.Lock()
        self.playing: Playing | None = None

    def play(self, name: str) -> None:
        """Begin a scene; the traffic stands still until it is over.

        Raises:
            DuetimeError: there is none of that name, or another one is on.
        """
        scene = next((scene for scene in SCENES if scene.name == name), None)
        if scene is None:
            raise DuetimeError(f"no scene {name!r}; there are {', '.join(scene.name for scene in SCENES)}")
        with self._lock:
            if self.playing and self.playing.phase != "over":
                raise DuetimeError(f"the scene {self.playing.scene.title!r} is still on")
            self.playing = Playing(scene, Stage(self._live))
            threading.Thread(target=self._play, args=(self.playing,), name="scene", daemon=True).start()

    def look(self, lanes: Sequence[Numbers]) -> None:
        """See how far the scene is; its outcome is what the checker says of its own notifications."""
        playing = self.playing
        if playing is None or playing.phase == "over":
            return
        beginnings = tuple(f"event-reminder:{event}:" for event in playing.stage.events)
        for one in lanes:
            # What has left the picture keeps the last that was known of it.
            playing.seen.update(
                ((one["design"], note["key"]), note)
                for note in one["notes"]
                if beginnings and note["key"].startswith(beginnings)
            )
        mine = [[note for (design, _), note in playing.seen.items() if design == one["design"]] for one in lanes]
        playing.outcome = [_outcome(one["design"], notes) for one, notes in zip(lanes, mine, strict=True)]
        if playing.phase == "waiting" and time.monotonic() > playing.certain_by:
            playing.error = (
                f"Not all of it was certain after {CERTAIN_WITHIN_S:.0f} s: play it again when all servers serve."
            )
            playing.phase = "over"
        if playing.phase == "waiting" and all(
            notes and _certain(notes, one["now"]) for one, notes in zip(lanes, mine, strict=True)
        ):
            playing.phase = "over"

    def state(self) -> Mapping[str, Any] | None:
        playing = self.playing
        if playing is None:
            return None
        return {
            "name": playing.scene.name,
            "phase": playing.phase,
            "error": playing.error,
            "outcome": playing.outcome,
        }

    def _play(self, playing: Playing) -> None:
        with self._live.standing_still():
            try:
                playing.scene.play(playing.stage)
            except Exception as error:  # noqa: BLE001 - whatever it was, the page says it, and the next scene can begin
                playing.error = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
                for fault in reversed(playing.stage.faults):
                    with suppress(DuetimeError):
                        self._live.undo(fault)
        playing.certain_by = time.monotonic() + CERTAIN_WITHIN_S
        playing.phase = "over" if playing.error else "waiting"


def _certain(notes: Sequence[Numbers], now_s: float) -> bool:
    """Whether nothing can change any more, but for what comes against all expectation."""
    revisions = [rev for note in notes for rev in note["revs"]]
    settled = all(rev.get("state", "delivered") in SETTLED for rev in revisions)
    # What was taken back may come all the same, a little after it would have been due.
    return settled and now_s > max(rev.get("due") or 0.0 for rev in revisions) + 3.0


def _outcome(design: str, notes: Sequence[Numbers]) -> Mapping[str, Any]:
    found = Counter[str]()
    for note in notes:
        for rev in note["revs"]:
            found[rev.get("state", "")] += 1
            for got in rev.get("got", ()):
                found[got[3]] += 1
    came = sum(bool(rev.get("got")) for note in notes for rev in note["revs"])
    return {
        "design": design,
        "delivered": came,
        **{label: found[label] for label in (*TOLD, "overdue") if found[label]},
    }
