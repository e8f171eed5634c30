"""The judge: a stored run in, a verdict out. Nothing here touches a clock, a network or a database."""

from duetime.checker.in_memory import check
from duetime.checker.judge import judge, judge_history, label_lines
from duetime.checker.labels import ACCUSATIONS
from duetime.checker.results import Outcome, Results, write_results
from duetime.checker.violations import Anomaly

__all__ = [
    "ACCUSATIONS",
    "Anomaly",
    "Outcome",
    "Results",
    "check",
    "judge",
    "judge_history",
    "label_lines",
    "write_results",
]
