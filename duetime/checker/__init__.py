"""The judge: a stored run in, a verdict out. Nothing here touches a clock, a network or a database."""

from duetime.checker.judge import judge, judge_history, label_lines
from duetime.checker.literal import check
from duetime.checker.results import Anomaly, Outcome, Results, write_results

__all__ = [
    "Anomaly",
    "Outcome",
    "Results",
    "check",
    "judge",
    "judge_history",
    "label_lines",
    "write_results",
]
