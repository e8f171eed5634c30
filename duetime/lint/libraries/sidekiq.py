"""Sidekiq."""

from __future__ import annotations

import re
from typing import Any

from duetime.lint.libraries.declaration import Case, Found, Library, Rule, Run, Setting

LINE = re.compile(r"^:?(?P<name>\w+):\s*(?P<value>[\d.]+)\s*(?:#.*)?$", flags=re.MULTILINE)


def parse(text: str) -> Found:
    """Return the numbers at the top of ``sidekiq.yml``. What it leaves out is not known: an initializer may set it."""
    found = {match["name"]: float(match["value"]) for match in LINE.finditer(text)}
    return Found(values={name: value for name, value in found.items() if name in LIBRARY.by_name})


def _longest_wait(case: Case) -> float:
    average: Any = case["poll_interval_average"]
    return float(1.5 * (average or case["average_scheduled_poll_interval"]))


LIBRARY = Library(
    name="sidekiq",
    title="Sidekiq",
    version="6.4.1",
    suffix=".yml",
    parse=parse,
    commands=("sidekiq",),
    flags="Vdv",
    example="sidekiq -t 25 -r ./worker.rb",
    fixed="a job that a killed process was executing, or was moving to the queue, is lost (Sidekiq Pro has "
    "super_fetch! and reliable_scheduler!); a process waits up to 5 s before its first look for due jobs",
    settings=(
        Setting(name="poll_interval_average", default=None, optional=True, unit="s"),
        Setting(name="average_scheduled_poll_interval", default=5, unit="s"),
        Setting(name="timeout", default=25, unit="s", options=("-t", "--timeout")),
    ),
    rules=(
        Rule(
            setting="poll_interval_average",
            when=lambda case: _longest_wait(case) > case.limits.punctual_to,
            effect="delays",
            consequence="each process looks for due jobs at random times, on average every poll_interval_average, and "
            "without that every average_scheduled_poll_interval times the number of processes; at most half as long "
            "again.",
            fix=":poll_interval_average: 0.5 in sidekiq.yml. It also ends the wait of 10 s after a start.",
            run=Run(design="contender:sidekiq", scenario="calm"),
            see="sidekiq/scheduled.rb:150",
        ),
        Rule(
            setting="timeout",
            when=lambda case: case.limits.grace is not None and case["timeout"] >= case.limits.grace,
            effect="loses",
            consequence="a process that stops pushes back its running jobs after {timeout:g} s. By then SIGKILL has "
            "come, and they are lost.",
            fix="-t below the time from SIGTERM to SIGKILL, by some seconds.",
            run=Run(design="contender:sidekiq", scenario="deploy_too_slow"),
            see="sidekiq/manager.rb:112",
        ),
    ),
)
