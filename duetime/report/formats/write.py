"""Writes an outcome in one of the forms."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, assert_never

from duetime.report.baseline import COMPARISON_FORMAT
from duetime.report.formats.github import workflow_commands
from duetime.report.formats.junit import junit
from duetime.report.formats.markdown import job_summary
from duetime.report.formats.outcome import Outcome
from duetime.report.rates import rates

Format = Literal["json", "markdown", "junit", "github"]
FORMATS: Final[tuple[Format, ...]] = ("json", "markdown", "junit", "github")


def written(outcome: Outcome, form: Format) -> str:
    """Return `outcome` as a text that ends with a line break, and that UTF-8 can encode."""
    return _written(outcome, form).encode("utf-8", "replace").decode()


def _written(outcome: Outcome, form: Format) -> str:
    match form:
        case "json":
            return json.dumps(_value(outcome)) + "\n"
        case "markdown":
            return job_summary(outcome)
        case "junit":
            return junit(outcome)
        case "github":
            return workflow_commands(outcome)
        case _:
            assert_never(form)


def _value(outcome: Outcome) -> dict[str, Any]:
    return {
        "format": COMPARISON_FORMAT,
        "cells": outcome.cells,
        "rates": [rate.to_json() for rate in rates(outcome.cells)],
        **({"baseline": outcome.compared.to_json()} if outcome.compared else {}),
        **outcome.more,
        "runs": str(outcome.runs),
    }
