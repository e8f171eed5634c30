"""One self-contained HTML page about an audit. It uses no network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from duetime.audit import text
from duetime.audit.picture import drawing
from duetime.audit.report import Report
from duetime.checker.explain import FIXES


def write_page(report: Report, path: Path) -> None:
    """Write the page completely or not at all.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(page(report), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(report: Report) -> str:
    """The page as HTML."""
    loader = ChoiceLoader([PackageLoader("duetime.audit", "assets"), PackageLoader("duetime.report", "assets")])
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    styles = "\n".join(templates.loader.get_source(templates, name)[0] for name in ("common.css", "audit.css"))  # type: ignore[union-attr]  # it is the one above
    return templates.get_template("audit.html.j2").render(
        report=report,
        styles=Markup(styles),  # noqa: S704 - our own file
        conclusion=text.conclusion(report).partition(": ")[2],
        counts=text.counts(report),
        covered=text.covered(report),
        picture=(picture := drawing(report)),
        bar_length=text.bar_length(picture["hours"]),
        kinds=[
            {"title": text.heading(report, kind), "examples": examples, "fix": FIXES.get(kind, "")}
            for kind, examples in report.examples().items()
        ],
        violations=[
            {"name": name, "number": number, "of": report.denominator(name)}
            for name, number in report.violations.items()
        ],
        lateness={name: text.seconds(value) for name, value in report.tally.lateness.percentiles().items()},
        sources={"promised": report.promised, "delivered": report.delivered},
    )
