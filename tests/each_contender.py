"""The contenders as parameters of tests, marked so that `make test` is the same whatever else is installed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet

IN_CI = ("procrastinate", "rq")
"""What `make test` installs."""


def each_contender(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, id=name, marks=mark(name)) for name in names]


def mark(name: str) -> list[pytest.MarkDecorator]:
    """Return what marks a test of the contender; ``celery`` is this project's own."""
    return [] if name in (*IN_CI, "celery") else [pytest.mark.contenders]
