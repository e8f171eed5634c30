"""Plays the scenes of the tour over the real processes, and shows the checker's result for each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from duetime.checker.labels import VIOLATIONS
from duetime.demo.causes import causes_of, in_words, with_fix_of_mechanism
from duetime.demo.scenes import SCENES, Scene, Stage
from duetime.demo.session import DemoSession
from duetime.errors import DuetimeError
from duetime.report.lane import Numbers

SETTLED = ("delivered", "missed", "none_due", "indeterminate")
UNJUDGED = ("zombie", "unproven", "unknown_early", "unknown_late")
"""Deliveries that the records do not show to be wrong."""
SETTLED_WITHIN_S = 60.0
"""Longer than the longest deadline in a scene, with every recovery."""
UNEXPECTED_DELIVERY_S = 3.0
"""How long after its due time a cancelled or replaced revision may still be delivered."""


@dataclass(slots=True)
class PlayedScene:
    """A scene that was started.

    phase: ``playing`` while its script runs, ``waiting`` until the results are final, ``over``.
    notes: its notifications by design and key, as last seen.
    """

    scene: Scene
    stage: Stage
    phase: Literal["playing", "waiting", "over"] = "playing"
    error: str = ""
    outcome: list[Mapping[str, Any]] = field(default_factory=list)
    give_up_at: float = inf
    notes: dict[tuple[str, str], Numbers] = field(default_factory=dict)

    def notes_of(self, design: str) -> list[Numbers]:
        return [note for (of_design, _), note in self.notes.items() if of_design == design]


class Tour:
    """Plays one scene at a time."""

    def __init__(self, session: DemoSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._played: PlayedScene | None = None
        self._scenarios: dict[str, str] = {}
        """Of the events of all scenes, by event."""

    def play(self, name: str) -> None:
        """Start a scene; generated traffic is paused during its script.

        Raises:
            DuetimeError: there is no scene with this name, or another one is being played.
        """
        scene = next((scene for scene in SCENES if scene.name == name), None)
        if scene is None:
            raise DuetimeError(f"no scene {name!r}; there are {', '.join(scene.name for scene in SCENES)}")
        with self._lock:
            if self._played and self._played.phase != "over":
                raise DuetimeError(f"the scene {self._played.scene.title!r} is being played; wait until it is over")
            self._played = PlayedScene(scene, Stage(self._session))
            threading.Thread(target=self._play, args=(self._played,), name="scene", daemon=True).start()

    def update(self, lanes: Sequence[Numbers]) -> None:
        """Take the scene's notifications from newly checked `lanes`, and end the scene when all are settled."""
        played = self._played
        if played is None or played.phase == "over":
            return
        prefixes = tuple(f"event-reminder:{event}:" for event in played.stage.events)
        self._scenarios.update((str(event), played.scene.scenario) for event in played.stage.events)
        for lane in lanes:
            # A notification that has left its lane keeps its last state.
            played.notes.update(
                ((lane["design"], note["key"]), note)
                for note in lane["notes"]
                if prefixes and note["key"].startswith(prefixes)
            )
        played.outcome = [_outcome(lane["design"], played.notes_of(lane["design"])) for lane in lanes]
        if played.phase != "waiting":
            return
        if time.monotonic() > played.give_up_at:
            played.error = (
                f"Some results were not final after {SETTLED_WITHIN_S:.0f} s. Play the scene again when all workers "
                "are serving."
            )
            played.phase = "over"
        elif all(_all_final(played.notes_of(lane["design"]), lane["now"]) for lane in lanes):
            played.phase = "over"

    def with_fixes(self, design: str, violations: Sequence[Numbers]) -> list[Numbers]:
        """The violations of a lane; those of a scene with the fix of their mechanism."""
        return [
            {
                **violation,
                "text": with_fix_of_mechanism(
                    violation["text"], design=design, scenario=scenario, label=violation["label"]
                ),
            }
            if (scenario := self._scenarios.get(violation["op"].partition(":")[2].partition(":")[0]))
            else violation
            for violation in violations
        ]

    def state(self) -> Mapping[str, Any] | None:
        played = self._played
        if played is None:
            return None
        return {
            "name": played.scene.name,
            "phase": played.phase,
            "error": played.error,
            "events": played.stage.events,
            "outcome": [self._explained(played, outcome) for outcome in played.outcome],
        }

    def abandon(self, why: str) -> None:
        """End the scene that is being played, if there is one, without a result."""
        with self._lock:
            played = self._played
            if played and played.phase != "over":
                played.stage.abandon()
                played.error, played.phase, played.outcome = why, "over", []

    def _explained(self, played: PlayedScene, outcome: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outcome of a design in words, with the causes that are known; a fault that was not there has none."""
        unaffected = outcome["design"] in self._session.unaffected(played.stage.faults)
        no_fault = "The fault did not happen here, so this result says nothing about it."
        causes = [no_fault] if unaffected else causes_of(played.scene.name, outcome)
        return {**outcome, "unaffected": unaffected, "words": in_words(outcome), "causes": causes}

    def _play(self, played: PlayedScene) -> None:
        with self._session.traffic_paused():
            try:
                played.scene.script(played.stage)
            except Exception as error:  # noqa: BLE001 - the page shows it, and the next scene can be played
                if played.phase == "over":  # abandoned
                    return
                played.error = str(error) if isinstance(error, DuetimeError) else f"{type(error).__name__}: {error}"
                for fault in reversed(played.stage.active):
                    with suppress(DuetimeError):
                        self._session.heal_fault(fault)
        played.give_up_at = time.monotonic() + SETTLED_WITHIN_S
        played.phase = "over" if played.error else "waiting"


def _all_final(notes: Sequence[Numbers], now_s: float) -> bool:
    """Return True if there are notifications and none of their states can change any more."""
    revisions = [rev for note in notes for rev in note["revs"]]
    settled = all(rev.get("state", "delivered") in SETTLED for rev in revisions)
    last_due_s = max((rev.get("due") or 0.0 for rev in revisions), default=inf)
    return settled and now_s > last_due_s + UNEXPECTED_DELIVERY_S


def _outcome(design: str, notes: Sequence[Numbers]) -> Mapping[str, Any]:
    revisions = [rev for note in notes for rev in note["revs"]]
    found = Counter(rev.get("state", "") for rev in revisions)
    found.update(delivery[3] for rev in revisions for delivery in rev.get("deliveries", ()))
    owed = [rev for rev in revisions if rev.get("required")]
    return {
        "design": design,
        "owed": len(owed),
        "delivered": sum(bool(rev.get("deliveries")) for rev in owed),
        "repeated": sum(len(rev.get("deliveries", ())) > 1 for rev in revisions),
        "excused": found["excused"],
        "unjudged": sum(found[label] for label in UNJUDGED),
        **{label: found[label] for label in (*VIOLATIONS, "overdue") if found[label]},
    }
