"""A job summary in GitHub's Markdown: the conclusion, the matrix, and what happened in each cell that failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from duetime.checker import VIOLATIONS
from duetime.report.conclusions import conclusions
from duetime.report.formats.outcome import Outcome, Row

MOST_DETAILS = 20
"""A summary may have one MiB; further cells are in the run directory."""
SPECIAL = re.compile(r"([\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w))")
"""An underscore inside of a word is no Markdown."""
MARKS = {"pass": "✅", "unknown": "❔ unknown", "not applicable": "n/a"}
LEGEND = "✅ passes · ❌ fails · ⚠️ fails, and does not fail the command · ❔ proved nothing · n/a not applicable"


def job_summary(outcome: Outcome) -> str:
    """Return the Markdown."""
    heading = f"## duetime: {_escaped(outcome.conclusion)}"
    concluded = [f"- {_escaped(one.design)} {_escaped(one.sentence)}" for one in conclusions(outcome.cells)]
    return "\n".join([heading, "", *concluded, "", *_matrix(outcome.rows), "", *_details(outcome)])


def _matrix(rows: Sequence[Row]) -> Iterator[str]:
    designs = list(dict.fromkeys(str(row.cell["design"]) for row in rows))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.cell["scenario"], row.cell["design"]), []).append(row)
    yield f"| scenario | {' | '.join(map(_escaped, designs))} |"
    yield f"|---|{'---|' * len(designs)}"
    for scenario in dict.fromkeys(str(row.cell["scenario"]) for row in rows):
        marks = [_mark(cells.get((scenario, design), [])) for design in designs]
        yield f"| {_escaped(scenario)} | {' | '.join(marks)} |"
    yield ""
    yield LEGEND


def _mark(rows: Sequence[Row]) -> str:
    """Return the mark of one cell: over several seeds, with the number of runs that failed."""
    outcomes = Counter(row.cell["outcome"] for row in rows)
    judged = outcomes["pass"] + outcomes["fail"]
    if not outcomes["fail"]:
        first = next((name for name in ("unknown", "pass", "not applicable") if outcomes[name]), "not applicable")
        return MARKS[first] if len(rows) < 2 or first != "unknown" else f"❔ {outcomes[first]} of {len(rows)} unknown"
    mark = "❌" if any(row.fails for row in rows) else "⚠️"
    found = Counter[str]()
    for row in rows:
        found.update(row.cell["violations"])
    telling = ", ".join(f"{kind} {found[kind]}" for kind in VIOLATIONS if found[kind])
    return f"{mark} {telling}" if len(rows) == 1 else f"{mark} {outcomes['fail']} of {judged} runs: {telling}"


def _details(outcome: Outcome) -> Iterator[str]:
    if outcome.compared:
        yield from (f"- {_escaped(line)}" for line in outcome.compared.lines)
        yield ""
    telling = sorted((row for row in outcome.rows if _tells(row)), key=lambda row: not row.fails)
    for row in telling[:MOST_DETAILS]:
        yield "<details>"
        yield f"<summary>{_html(row.place)}, seed {row.cell['seed']}: {_html(row.finding)}</summary>"
        yield f"<p>{_html(row.cell['explanation'])}</p>"
        yield f"<p>Repeat it: <code>{_html(row.repeat)}</code></p>"
        yield "</details>"
        yield ""
    if len(telling) > MOST_DETAILS:
        yield f"…and {len(telling) - MOST_DETAILS} more runs."
    yield f"Kept in {_escaped(str(outcome.runs))}/"
    yield ""


def _tells(row: Row) -> bool:
    return row.cell["outcome"] in ("fail", "unknown")


def _one_line(text: str) -> str:
    """Return `text` without line breaks and control characters, which would end a cell of a table."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", _one_line(text))


def _html(text: str) -> str:
    # Entities for brackets, and for what would be Markdown even inside of HTML.
    return re.sub(r"[<>&`*\[\]|\\~]", lambda found: f"&#{ord(found[0])};", _one_line(text))
