"""Annotations of a workflow of GitHub Actions, which it shows beside the run and the changed files.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands; the escapes are those of
``packages/core/src/command.ts`` in https://github.com/actions/toolkit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from duetime.report.formats.outcome import Outcome, Row


def workflow_commands(outcome: Outcome) -> str:
    """Return one command for each design and scenario that failed or proved nothing, and one with the conclusion.

    GitHub shows ten errors and ten warnings of a step, so further runs of the same cell are counted in its annotation.
    """
    return "".join(f"{line}\n" for line in _lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    failing: dict[str, list[Row]] = {}
    unknown: dict[str, list[Row]] = {}
    for row in outcome.rows:
        if row.fails:
            failing.setdefault(row.place, []).append(row)
        elif row.cell["outcome"] == "unknown":
            unknown.setdefault(row.place, []).append(row)
    worse: dict[str, list[str]] = {}
    for one in outcome.compared.worse if outcome.compared else ():
        worse.setdefault(one.place, []).append(one.sentence)
    for place, rows in failing.items():
        yield _command("error", rows, title=f"{place}: {'; '.join(worse.get(place, [rows[0].finding]))}")
    for place, rows in unknown.items():
        yield _command("warning", rows, title=f"{place}: unknown")
    yield f"::notice title=duetime::{_data(outcome.conclusion)}"


def _command(level: str, rows: Sequence[Row], *, title: str) -> str:
    first = rows[0]
    others = f"\nThe same in {len(rows) - 1} more runs." if len(rows) > 1 else ""
    message = f"{first.cell['explanation']}{others}\nRepeat it: {first.repeat}"
    file = _file(str(first.cell["loaded_as"]))
    properties = [*([f"file={_property(file)}"] if file else []), f"title={_property(title)}"]
    return f"::{level} {','.join(properties)}::{_data(message)}"


def _file(loaded_as: str) -> str:
    """Return the file of a design that was named by its file, from the top of the repository if it is in there."""
    name, colon, _ = loaded_as.rpartition(":")
    if not colon or not name.endswith(".py"):
        return ""
    top, file = Path(os.environ.get("GITHUB_WORKSPACE") or os.curdir).absolute(), Path(name).absolute()
    return str(file.relative_to(top)) if file.is_relative_to(top) else name


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
