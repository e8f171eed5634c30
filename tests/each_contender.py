"""The contenders as parameters of tests, marked so that `make test` is the same whatever else is installed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet

IN_CI = ("procrastinate", "rq")
"""What `make test` installs."""


def each_contender(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, id=name, marks=() if name in IN_CI else pytest.mark.contenders) for name in names]
