"""A schedule as a table with a column for each participant, as a file, and as a test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap

from duetime.errors import BadUsage
from duetime.explore.explorer import Schedule
from duetime.explore.participants import Event
from duetime.explore.scopes import scope_named
from duetime.explore.steps import Step

FORMAT = 1
WIDEST = 34
"""Columns of text for each participant."""
NAMES: Mapping[str, str] = {"ok": "returns", "fail": "is rejected", "info": "raises: the outcome is unknown"}


def rows(schedule: Schedule) -> list[tuple[str, str, str]]:
    """Return what happened, in order: the number of the step, the participant, and the step or its consequence."""
    found: list[tuple[float, int, str, str, str]] = []
    for number, step in enumerate(schedule.steps, start=1):
        found.append((float(number), 0, str(number), step.participant, step.label))
    last = len(schedule.steps)
    for order, event in enumerate(schedule.events, start=1):
        text = _consequence(event, last)
        if text:
            found.append((event.at, order, "", event.participant, text))
    found.sort(key=lambda row: (row[0], row[1]))
    return [(number, participant, text) for _, _, number, participant, text in found]


def _consequence(event: Event, last: int) -> str:
    if event.what in NAMES and event.participant != "before":
        return f"({event.op} {NAMES[event.what]})"
    if event.what == "deliver" and event.at > last:
        return f"delivers {event.op}"
    return f"({event.detail})" if event.what == "error" else ""


def table(schedule: Schedule) -> str:
    """Return the schedule as text."""
    found = rows(schedule)
    participants = list(
        dict.fromkeys([*scope_named(schedule.scope).participants(), *(participant for _, participant, _ in found)])
    )
    widths = {
        participant: min(WIDEST, max([len(participant), *(len(text) for _, who, text in found if who == participant)]))
        for participant in participants
    }
    lines = ["step  " + "  ".join(participant.ljust(widths[participant]) for participant in participants).rstrip()]
    for number, participant, text in found:
        before = "".join(" " * (widths[other] + 2) for other in participants[: participants.index(participant)])
        for part, line in enumerate(wrap(text, widths[participant]) or [""]):
            lines.append(f"{number if part == 0 else '':>4}  {before}{line}".rstrip())
    return "\n".join(lines)


def sentence(schedule: Schedule) -> str:
    """Return what is wrong with the schedule."""
    return " ".join(_sentences(schedule))


def _sentences(schedule: Schedule) -> Iterator[str]:
    returned = {event.op: event.at for event in schedule.events if event.what == "ok"}
    for broken in schedule.verdict.broken:
        label, _, op = broken.partition(" ")
        deliveries = [event for event in schedule.events if event.what == "deliver" and event.op == op]
        if label == "missed":
            stored = schedule.stored.get(op)
            where = f"It is still there: {stored}." if stored else "No store of the design holds it any more."
            yield f"{op} was acknowledged and never delivered. {where}"
        elif label == "duplicate":
            workers = " and ".join(event.participant for event in deliveries)
            yield f"{op} was delivered {len(deliveries)} times, by {workers}, and no crash explains it."
        else:
            last = deliveries[-1]
            newer = [
                other for other, at in returned.items()
                if other.rpartition("/")[0] == op.rpartition("/")[0] and at < last.queried_at and other != op
            ]  # fmt: skip
            before = f", when {' and '.join(newer)} had returned" if newer else ""
            yield f"{label}: {op} was delivered after the query at step {int(last.queried_at)}{before}."


def page(schedule: Schedule) -> str:
    """Return the schedule as a self-contained HTML page."""
    found = rows(schedule)
    participants = list(
        dict.fromkeys([*scope_named(schedule.scope).participants(), *(participant for _, participant, _ in found)])
    )
    body = "\n".join(
        f"<tr><th>{number}</th>"
        + "".join(
            f'<td class="{_mark(text)}">{escape(text)}</td>' if other == participant else "<td></td>"
            for other in participants
        )
        + "</tr>"
        for number, participant, text in found
    )
    return PAGE.format(
        title=escape(schedule.title), what=escape(scope_named(schedule.scope).what.capitalize()),
        verdict=escape(", ".join(schedule.verdict.broken) or "no violation"),
        explanation=escape(sentence(schedule)),
        heads="".join(f"<th>{escape(participant)}</th>" for participant in participants), body=body,
    )  # fmt: skip


def _mark(text: str) -> str:
    for word, mark in (("delivers", "delivery"), ("is killed", "kill"), ("loses", "kill"), ("(", "note")):
        if text.startswith(word):
            return mark
    return "statement"


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --ground: #8881; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }}
h1 {{ overflow-wrap: anywhere; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }}
td {{ min-width: 9rem; }} td + td {{ border-left: 1px solid var(--line); }}
.statement {{ background: var(--ground); font-family: ui-monospace, monospace; font-size: 13px; }}
.delivery {{ background: #2a78d633; font-weight: 600; }} .kill {{ background: #d03b3b40; font-weight: 600; }}
.note {{ color: #777; }}
</style>
<h1>{title}</h1>
<p>{what}. <strong>{verdict}</strong></p>
<p>{explanation}</p>
<div><table><thead><tr><th>step</th>{heads}</tr></thead>
<tbody>
{body}
</tbody></table></div>
</html>
"""


def write(schedule: Schedule, file: Path) -> None:
    """Write a schedule so that `read` and ``duetime explore --replay`` can take it."""
    written = {
        "format": FORMAT,
        "design": schedule.design,
        "scope": schedule.scope,
        "violations": list(schedule.verdict.broken),
        "explanation": sentence(schedule),
        "steps": [step.to_json() for step in schedule.steps],
    }
    file.write_text(json.dumps(written, indent=1) + "\n")


def read(file: Path) -> tuple[str, str, Sequence[Step]]:
    """Return the design, the scope and the steps of a schedule that was written.

    Raises:
        BadUsage: the file holds none.
    """
    try:
        written = json.loads(file.read_text())
        if written["format"] != FORMAT:
            raise BadUsage(f"{file} has the format {written['format']}, and this version reads {FORMAT}")
        return written["design"], written["scope"], [Step(**step) for step in written["steps"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadUsage(f"{file} holds no schedule of duetime explore: {type(error).__name__} {error}") from error


TEST = '''"""{title}: a schedule that `duetime explore` found. It needs the file {file} beside it."""

from pathlib import Path

from duetime.explore.replayed import replayed
from duetime.explore.story import sentence


def test_{name}() -> None:
    schedule = replayed(Path(__file__).with_name("{file}"))

    assert not schedule.fails, sentence(schedule)
'''


def as_test(schedule: Schedule, file: Path) -> str:
    """Return a pytest case that fails as long as the schedule in `file` breaks a guarantee."""
    broken = schedule.verdict.broken[0] if schedule.verdict.broken else "nothing"
    title = f"{broken}, {schedule.title}"
    name = re.sub(r"\W+", "_", f"{schedule.scope}_{broken}").strip("_").lower()
    return TEST.format(title=title, file=file.name, name=name)
