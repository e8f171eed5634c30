"""JUnit XML, in the elements and attributes that Jenkins, GitLab and GitHub's actions read.

A run is a test case, a scenario a test suite. https://docs.gitlab.com/ci/testing/unit_test_reports lists what GitLab
reads: it shows the class name as the suite, and ignores a second case of the same class and name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from duetime.report.formats.outcome import Outcome, Row

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has not, not even escaped (https://www.w3.org/TR/xml/#charsets)."""


def junit(outcome: Outcome) -> str:
    """Return the text of a JUnit XML file."""
    suites = ET.Element("testsuites", {"name": "duetime", **_counts(outcome.rows)})
    if "seconds" in outcome.more:
        suites.set("time", str(outcome.more["seconds"]))
    by_scenario: dict[str, list[Row]] = {}
    for row in outcome.rows:
        by_scenario.setdefault(str(row.cell["scenario"]), []).append(row)
    for scenario, cases in by_scenario.items():
        skipped = sum(row.cell["outcome"] == "not applicable" for row in cases)
        named = {"name": _text(scenario), **_counts(cases), "skipped": str(skipped)}
        suite = ET.SubElement(suites, "testsuite", named)
        for row in cases:
            _add_case(suite, row)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _counts(rows: Sequence[Row]) -> dict[str, str]:
    errors = sum(row.cell["outcome"] == "unknown" for row in rows)
    return {"tests": str(len(rows)), "failures": str(sum(row.fails for row in rows)), "errors": str(errors)}


def _add_case(suite: ET.Element, row: Row) -> None:
    cell = row.cell
    name = f"{cell['design']}, seed {cell['seed']}"
    case = ET.SubElement(suite, "testcase", classname=_text(f"duetime.{cell['scenario']}"), name=_text(name))
    message, details = _text(row.finding), _text(cell["explanation"])
    if cell["outcome"] == "not applicable":
        ET.SubElement(case, "skipped", message=details)
        return
    details = f"{details}\nKept in {_text(cell['run_dir'])}; repeat it: {_text(row.repeat)}"
    if row.fails:
        ET.SubElement(case, "failure", message=message, type="violation").text = details
    elif cell["outcome"] == "unknown":
        ET.SubElement(case, "error", message=message, type="unknown").text = details
    elif cell["outcome"] == "fail":
        # No failure of the command: the guarantees allow it, or the baseline has it.
        ET.SubElement(case, "system-out").text = f"{message}\n{details}"


def _text(value: object) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
