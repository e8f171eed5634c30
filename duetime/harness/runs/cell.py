"""A cell of the comparison: one design in one scenario under one seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from duetime.checker import Results, judge_history, place_of_missed
from duetime.errors import NotARun
from duetime.harness.plan.plan import Plan
from duetime.harness.runs.guarantees import explained, not_covered
from duetime.history import History, load
from duetime.history.format import upgraded
from duetime.interface import Guarantees

Outcome = Literal["pass", "fail", "unknown", "not applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The result of one run.

    within_guarantees: whether the design's guarantees cover every violation; None where the run proves nothing.
    slow: how many times as long as its scenario the run took.
    counts, lateness_s: from the results, empty where there are none. The results themselves, which may have a million
    notifications, are in the run directory. violations: how many there are, by label; some counts are of none.
    loaded_as: the name under which a command loads the design. plan_hash: of its plan, the same for every design.
    """

    design: str
    scenario: str
    seed: int
    outcome: Outcome
    within_guarantees: bool | None
    explanation: str
    weakness: str
    run_dir: Path
    slow: float = 1.0
    counts: Mapping[str, int] = field(default_factory=dict)
    lateness_s: Mapping[str, Any] = field(default_factory=dict)
    violations: Mapping[str, int] = field(default_factory=dict)
    loaded_as: str = ""
    plan_hash: str = ""
    unproven: bool = False
    """Whether a part of a failing run proves nothing."""
    longest_s: Mapping[str, float] = field(default_factory=dict)
    """Of a stored run, the longest: ``late``, how late a delivery labelled so was, without excused time; ``stuck``, how
    long after its deadline a missed notification was still stored when the run was closed. Neither if there is none."""

    @property
    def promise_state(self) -> Literal["kept", "allowed", "BROKEN", "failed", "unknown", "not tested"]:
        """What the run says about the design's guarantees.

        allowed: it failed, as they allow, and nothing of it is unknown. failed: it did, and the design has stated none.
        """
        match self.outcome:
            case "pass":
                return "kept"
            case "fail" if self.within_guarantees is None:
                return "failed"
            case "fail" if not self.within_guarantees:
                return "BROKEN"
            case "fail" if not self.unproven:
                return "allowed"
            case "not applicable":
                return "not tested"
            case _:
                return "unknown"

    def to_json(self) -> dict[str, Any]:
        return {
            "design": self.design,
            "scenario": self.scenario,
            "seed": self.seed,
            "slow": self.slow,
            "outcome": self.outcome,
            "within_guarantees": self.within_guarantees,
            "violations": dict(self.violations),
            "counts": self.counts,
            "lateness_s": self.lateness_s,
            "explanation": self.explanation,
            "weakness": self.weakness,
            "run_dir": str(self.run_dir),
            "loaded_as": self.loaded_as or self.design,
            "plan_hash": self.plan_hash,
        }


def stored_cell(run_dir: Path, *, weakness: str = "") -> Cell:
    """The cell of a stored run, judged again from its files.

    Raises:
        NotARun: `run_dir` holds no run, or one that this version cannot read.
    """
    history = load(run_dir)
    return cell_of(run_dir, history, judge_history(history), weakness=weakness)


def cell_of(run_dir: Path, history: History, results: Results, *, weakness: str = "") -> Cell:
    """The cell of a stored run that has been judged.

    Raises:
        NotARun: its plan.json is not one that this version can read.
    """
    try:
        written = upgraded(json.loads((run_dir / "plan.json").read_bytes()))
        plan, guarantees = Plan.from_json(written), Guarantees(**written["guarantees"])
        design, loaded_as = str(written["design"]), str(written.get("loaded_as", written["design"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise NotARun(
            f"{run_dir / 'plan.json'} is not a plan that this version can read: {type(error).__name__} {error}."
        ) from error
    uncovered = not_covered(guarantees, plan, history, results)
    return Cell(
        design=design,
        scenario=plan.scenario,
        seed=plan.seed,
        outcome=results.outcome,
        within_guarantees=None if uncovered is None else not uncovered,
        explanation=explained(results, uncovered) + stored_remarks(run_dir),
        weakness=weakness,
        run_dir=run_dir,
        slow=plan.slow,
        counts=results.counts,
        lateness_s=results.lateness_s,
        violations=Counter(violation.label for violation in results.violations),
        loaded_as=loaded_as,
        plan_hash=str(written["plan_hash"]),
        unproven=bool(results.unknown_because),
        longest_s=_longest_s(history, results),
    )


def _longest_s(history: History, results: Results) -> dict[str, float]:
    late_ns = [
        item.obligation.excused.healthy(item.obligation.ready_ns, item.delivery.at_ns)
        for item in results.labelled
        if item.label == "late" and item.obligation
    ]
    closed = history.closed
    pending = (closed.pending if closed else None) or {}
    stuck_ns = [
        closed.at_ns - violation.at_ns
        for violation in results.violations
        if closed and violation.label == "missed" and place_of_missed(pending.get(violation.op)) == "stuck"
    ]
    longest = {"late": late_ns, "stuck": stuck_ns}
    return {kind: max(spans_ns) / 1e9 for kind, spans_ns in longest.items() if spans_ns}


def stored_remarks(run_dir: Path) -> str:
    """The remarks on a stored run; empty for one that was not closed."""
    try:
        closed = json.loads((run_dir / "closed.json").read_text())
        unverified = list(map(str, closed.get("unverified", closed.get("unseen", ()))))
        return remarks(unverified, list(map(str, closed.get("disorderly_exits", ()))))
    except (OSError, ValueError, TypeError, AttributeError):
        return ""


def remarks(unverified: Sequence[str], disorderly_exits: Sequence[str]) -> str:
    """The sentences in an explanation about faults that were not verified, and about exit statuses.

    A status does not change the verdict: the worker did end, and what it left undone shows in the deliveries.
    """
    not_verified = (f" Not verified: {fault}." for fault in unverified)
    noted = (f" Noted: {exit_}." for exit_ in disorderly_exits)
    return "".join([*not_verified, *noted])
