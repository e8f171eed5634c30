"""Which cells make ``run`` and ``compare`` fail, and the exit status of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import click

from duetime.checker import VIOLATIONS
from duetime.cli.options import EXIT_STATUS, split_names
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.harness.runs.cell import Cell

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """By default a cell fails the command if the design broke a guarantee, or failed and has stated none.

    kinds: the violations that fail it instead, also those that the guarantees allow; None for the default.
    """

    kinds: frozenset[str] | None = None

    def fails(self, cell: Cell) -> bool:
        if self.kinds is None:
            return cell.outcome == "fail" and cell.within_guarantees is not True
        return any(cell.violations.get(kind) for kind in self.kinds)

    def status(self, cells: Sequence[Cell]) -> int:
        """Return 1 if a cell fails the command, else 3 if one is unknown or none was applicable, else 0."""
        if any(map(self.fails, cells)):
            return EXIT_STATUS["fail"]
        none_applicable = all(cell.outcome == "not applicable" for cell in cells)
        unknown = none_applicable or any(cell.outcome == "unknown" for cell in cells)
        return EXIT_STATUS["unknown"] if unknown else EXIT_STATUS["pass"]


def failing_options(command: Callable[Concatenate[Failing, P], R]) -> Callable[P, R]:
    """Add --strict and --fail-on; the command gets a `Failing` first."""

    @click.option("--strict", is_flag=True, help="Exit with 1 for every violation, also one that the guarantees allow.")
    @click.option(
        "--fail-on",
        default="",
        metavar="KIND,KIND",
        help=f"Exit with 1 for these violations, also if the guarantees allow them, and for no other: "
        f"{', '.join(VIOLATIONS)}.",
    )
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        taken: dict[str, Any] = {name: kwargs.pop(name) for name in ("strict", "fail_on")}
        return command(_failing(**taken), *args, **kwargs)

    return cast("Callable[P, R]", wrapped)


def _failing(*, strict: bool, fail_on: str) -> Failing:
    kinds = split_names("--fail-on", fail_on)
    if strict and kinds:
        raise BadUsage(f"--strict fails on every kind, and --fail-on {fail_on} on some; leave one out")
    if unknown := [kind for kind in kinds if kind not in VIOLATIONS]:
        raise BadUsage(f"--fail-on {', '.join(unknown)}: no kind of violation; write some of {', '.join(VIOLATIONS)}")
    return Failing(kinds=frozenset(VIOLATIONS if strict else kinds) or None)
