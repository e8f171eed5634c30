"""arq."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duetime.lint.libraries.bodies import uses
from duetime.lint.libraries.declaration import Found, Library, Rule, Run, Setting, Test, seconds

DOCS = "https://arq-docs.helpmanual.io"


def read(settings: Any) -> Found | None:
    """Return what arq reads: a class's own attributes, not inherited ones, or a dict."""
    own: Mapping[str, Any] = settings if isinstance(settings, Mapping) else getattr(settings, "__dict__", {})
    if "functions" not in own and "cron_jobs" not in own:
        return None
    # A Function of arq.worker.func() holds the coroutine. A name as text is imported by the worker.
    functions = {_name(each): each for each in own.get("functions", ()) if not isinstance(each, str)}
    timeout = seconds(own.get("job_timeout", LIBRARY.by_name["job_timeout"].default))
    longest = max([timeout, *(seconds(getattr(each, "timeout_s", None)) or 0 for each in functions.values())])
    return Found(
        values={"job_timeout": longest, "job_completion_wait": own.get("job_completion_wait", 0)},
        tasks={
            name: {"raises_retry": uses(getattr(each, "coroutine", each), "Retry")} for name, each in functions.items()
        },
    )


def _name(function: Any) -> str:
    return str(getattr(function, "name", None) or getattr(function, "__qualname__", function))


LIBRARY = Library(
    name="arq",
    title="arq",
    version="0.28.0",
    reads="the settings of a worker, for instance arq:shop.jobs.WorkerSettings",
    read=read,
    fixed="the job of a killed worker comes back 10 s after its timeout and is executed again; after max_tries, which "
    "counts orderly stops and dead workers, it has failed; a job that no worker began for a day after its due time "
    "expires (_expires); an abort can execute the job instead",
    settings=(
        Setting(name="job_timeout", default=300, unit="s"),
        Setting(name="job_completion_wait", default=0, unit="s"),
        Setting(name="raises_retry", default=False, kind="flag", of="a function"),
    ),
    rules=(
        Rule(
            setting="job_timeout",
            when=lambda case: case["job_timeout"] + 10 > case.limits.lateness,
            effect="delays",
            consequence="the mark that a job is in progress outlives a killed worker. The job is executed again when "
            "the mark expires, {job_timeout:g} s and 10 s after its begin. The longest timeout of all functions "
            "counts.",
            fix="a job_timeout 10 s below the tolerable lateness, and above the longest job.",
            run=Run(design="contender:arq", scenario="crash_before", slow=35),
            see="arq/worker.py:277",
        ),
        Rule(
            setting="raises_retry",
            when=lambda case: not case["raises_retry"],
            effect="loses",
            consequence="neither the function nor one that it calls by its name uses Retry. Unless another one raises "
            "it, a job has failed at its first error, and is not executed again: arq retries no other error.",
            fix="raise Retry(defer=…) from the error, and a max_tries that outlasts the usual outage of what the job "
            "calls.",
            run=Run(design="contender:arq", scenario="poison"),
            see="arq/worker.py:613",
        ),
        Rule(
            setting="job_completion_wait",
            when=lambda case: case["job_completion_wait"] <= 0,
            effect="repeats",
            consequence="a worker that gets SIGTERM cancels its running jobs at once, also what is delivered already, "
            "and they are executed again.",
            fix="job_completion_wait=…, as long as the longest job, and below the time from SIGTERM to SIGKILL.",
            run=Test(file="test_contender_arq.py", keyword="stopped"),
            see="arq/worker.py:862",
        ),
    ),
)
