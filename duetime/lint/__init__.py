"""Find settings of a Celery application that lose or duplicate tasks, without starting it."""

from duetime.lint.applications import load
from duetime.lint.case import Target
from duetime.lint.commands import WorkerCommand, parse
from duetime.lint.durations import duration
from duetime.lint.finding import Finding, Level, Scenario
from duetime.lint.request import run
from duetime.lint.rules import lint
from duetime.lint.text import lines

__all__ = [
    "Finding",
    "Level",
    "Scenario",
    "Target",
    "WorkerCommand",
    "duration",
    "lines",
    "lint",
    "load",
    "parse",
    "run",
]
