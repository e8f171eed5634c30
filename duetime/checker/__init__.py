"""Judge a stored run. Nothing here reads a clock or uses a network or a database."""

from duetime.checker.in_memory import check
from duetime.checker.judge import judge, judge_history, label_lines, place_of_missed
from duetime.checker.labels import DELIVERY_VIOLATIONS, VIOLATIONS
from duetime.checker.results import Outcome, Results, write_results
from duetime.checker.violations import Violation

__all__ = [
    "DELIVERY_VIOLATIONS",
    "VIOLATIONS",
    "Outcome",
    "Results",
    "Violation",
    "check",
    "judge",
    "judge_history",
    "label_lines",
    "place_of_missed",
    "write_results",
]
