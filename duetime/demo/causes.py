"""Why a design got the result that a scene measured.

A sentence is shown only beside a result of its own label, so that no text contradicts the figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from duetime.checker.labels import VIOLATIONS
from duetime.report.conclusions import mechanism_for

Result = Literal["missed", "duplicate", "phantom", "stale", "kept"]
"""A violation, or ``kept``: everything was delivered in time and nothing else was."""

POLLER, READ_MODEL, QUEUE = "pull_worker", "push_readmodel", "oban_style_queue"
READS_THE_EVENT = "Its poll reads the events as they are now."
LATE_POLL = "A poll came late, and between two windows there was a gap."

CAUSES: Final[Mapping[str, Mapping[tuple[str, Result], str]]] = {
    "arrive": {
        (POLLER, "kept"): "It polls at every full second, and finds what falls due.",
        (POLLER, "missed"): LATE_POLL,
        (READ_MODEL, "kept"): "Its worker sleeps until the next row is due.",
        (QUEUE, "kept"): "Its worker holds the task in memory and has set a timer.",
    },
    "cancel": {
        (POLLER, "kept"): READS_THE_EVENT,
        (READ_MODEL, "kept"): "The cancel deleted the row.",
        (QUEUE, "kept"): "The cancel sent its workers a revoke, and they skip the task. They keep revokes in memory.",
        (QUEUE, "phantom"): "A revoke was sent, and the worker that delivered the task did not have it in its memory.",
    },
    "move": {
        (POLLER, "kept"): READS_THE_EVENT,
        (POLLER, "missed"): LATE_POLL,
        (READ_MODEL, "kept"): "The move gave the row another due time.",
        (QUEUE, "kept"): "The move revoked the task and sent another one.",
        (QUEUE, "stale"): "The old task was revoked, and the worker that delivered it did not have the revoke.",
    },
    "add": {
        (POLLER, "duplicate"): "Each of its workers has a beat, and each beat requests the same poll.",
        (POLLER, "missed"): LATE_POLL,
        (READ_MODEL, "kept"): "A worker skips the rows that another one has locked.",
        (QUEUE, "kept"): "The broker gives each message to one worker.",
    },
    "downtime": {
        (POLLER, "missed"): "It polls the present window, so no later poll finds what fell due while it was down.",
        (READ_MODEL, "kept"): "The rows were still in the table when its workers came back.",
        (QUEUE, "missed"): "The tasks were in the memory of the killed workers. The broker returns them after an hour.",
    },
    "cancel-while-down": {
        (POLLER, "kept"): READS_THE_EVENT,
        (READ_MODEL, "kept"): "The cancel deleted the row.",
        (QUEUE, "phantom"): "The revoke is a broadcast to running workers, and none was running. The task waited in "
        "the broker.",
    },
    "kill": {
        (POLLER, "duplicate"): "Both workers poll the same window. The kill cut one of the two polls off.",
        (POLLER, "missed"): "The kill cut a poll off, and no later poll has the same window.",
        (READ_MODEL, "duplicate"): "The killed worker had delivered and not committed, so the other worker delivered "
        "again.",
        (READ_MODEL, "kept"): "The database rolled back what the killed worker had claimed, and the other worker "
        "delivered it.",
        (QUEUE, "missed"): "A task is acknowledged when it begins: what the killed worker had begun is gone, and what "
        "it held in memory comes back after an hour.",
        (QUEUE, "kept"): "The killed worker had finished what it had begun, and held nothing else.",
    },
    "broker": {
        (POLLER, "missed"): "Its polls are messages. Until its workers have reconnected, nothing is polled, and no "
        "later poll has the same window.",
        (READ_MODEL, "kept"): "It reads its database, and needs no broker for a delivery.",
        (QUEUE, "missed"): "The broker had nothing on disk, and a worker that loses its connection drops the tasks "
        "that it holds.",
    },
}  # fmt: skip


def causes_of(scene: str, outcome: Mapping[str, Any]) -> Sequence[str]:
    """Return a sentence for each result of a design in a scene that has one; none for designs of other people."""
    design, known = outcome["design"], CAUSES[scene]
    violations = [label for label in VIOLATIONS if outcome.get(label)]
    kept = not violations and not outcome["unjudged"] and outcome["delivered"] == outcome["owed"]
    results = ["kept"] if kept else violations
    return [known[design, result] for result in results if (design, result) in known]  # type: ignore[index]  # checked


def with_fix_of_mechanism(explanation: str, *, design: str, scenario: str, label: str) -> str:
    """Return the explanation of a violation with the fix of its mechanism instead of the checker's general one.

    What was missed keeps the general fix: its mechanism depends on where the notification is.
    """
    cell = {"design": design, "scenario": scenario, "counts": {}}
    mechanism = None if label == "missed" else mechanism_for(cell, label)
    if mechanism is None or not mechanism.fix:
        return explanation
    return re.sub(r"Fix: [^.]*\.", lambda _: f"Fix: {mechanism.fix}.", explanation)


def in_words(outcome: Mapping[str, Any]) -> str:
    """Return what was measured of a design: "delivered 12 of 12, 2 of them more than once"."""
    owed, delivered = outcome["owed"], outcome["delivered"]
    parts = {
        "repeated": "{} of them more than once" if owed else "delivered {} more than once",
        "missed": "missed {}",
        "phantom": "delivered {} after the cancel",
        "stale": "delivered {} for the old time",
        "early": "{} early",
        "late": "{} late",
        "excused": "{} late, excused by the fault",
        "unjudged": "delivered {} too close to the fault to be judged",
    }
    found = [text.format(outcome[name]) for name, text in parts.items() if outcome.get(name)]
    if owed:
        return ", ".join([f"delivered {delivered} of {owed}", *found])
    return ", ".join(found) or "delivered nothing, and nothing was owed"
