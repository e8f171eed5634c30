"""What ``run``, ``compare`` and ``check`` print for programs, and what they compare with a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import click

from duetime.cli.options import EXIT_STATUS
from duetime.errors import BadUsage

if TYPE_CHECKING:
    from duetime.harness.plan.scenario import Scenario
    from duetime.report.baseline import Baseline, Compared, Planned
    from duetime.report.formats import Outcome

P = ParamSpec("P")
R = TypeVar("R")
TEXT = "text"
# Not from duetime.report.formats, which a command imports only if it is asked for one of them.
FORMATS = (TEXT, "json", "markdown", "junit", "github")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the user wants printed.

    form: one of `FORMATS`. file: where it goes, instead of standard output, which then has the text.
    """

    form: str
    file: Path | None
    baseline: Baseline | None

    @property
    def prints_text(self) -> bool:
        return self.form == TEXT or self.file is not None

    def check_comparable(self, planned: Callable[[], Iterable[Planned]]) -> None:
        """Refuse runs that cannot be compared with the baseline, before they are carried out."""
        if self.baseline:
            self.baseline.check_comparable(planned())

    def deliver(self, outcome: Outcome) -> None:
        """Print or write `outcome` in the form that is wanted; print what the baseline says if there is a text."""
        from duetime.report.formats import written

        if self.prints_text and outcome.compared:
            print_compared(outcome.compared)
        if self.form != TEXT:
            self.write(written(outcome, self.form))  # type: ignore[arg-type]  # click has checked it

    def write(self, text: str) -> None:
        """Write `text` to the file, or print it."""
        if self.file is None:
            click.echo(text, nl=False)
            return
        try:
            self.file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadUsage(f"--output {str(self.file)!r} cannot be written ({error.strerror})") from error


def output_options(command: Callable[Concatenate[Output, P], R]) -> Callable[P, R]:
    """Add --format, --output, --baseline and --json; the command gets an `Output` first."""

    @click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default=TEXT,
        show_default=True,
        help="markdown: a job summary with the matrix. junit: a JUnit XML file. github: annotations of a workflow.",
    )
    @click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the --format into FILE; the text is printed as usual.",
    )
    @click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Fail only on what got worse since FILE, which an earlier --format json --output FILE wrote: a new kind "
        "of violation, or with --runs 5 and more a rate that rose beyond chance.",
    )
    @click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        taken: dict[str, Any] = {name: kwargs.pop(name) for name in ("form", "output", "baseline", "as_json")}
        if taken["baseline"] and (kwargs.get("strict") or kwargs.get("fail_on")):
            raise BadUsage("--baseline fails on what got worse, whatever is allowed; leave out --strict and --fail-on")
        return command(_output(**taken), *args, **kwargs)

    return cast("Callable[P, R]", wrapped)


def _output(*, form: str, output: Path | None, baseline: Path | None, as_json: bool) -> Output:
    from duetime.report.baseline import Baseline

    if as_json and form not in (TEXT, "json"):
        raise BadUsage(f"--json is --format json, and --format {form} was written too; leave one out")
    form = "json" if as_json else form
    if output and form == TEXT:
        raise BadUsage(f"--output {str(output)!r} is for what a program reads; add --format {'|'.join(FORMATS[1:])}")
    if output and not output.absolute().parent.is_dir():
        raise BadUsage(f"--output {str(output)!r}: there is no directory {str(output.absolute().parent)!r}")
    return Output(form=form, file=output, baseline=Baseline(baseline) if baseline else None)


def planned(scenarios: Sequence[Scenario], designs: Iterable[str], seeds: Sequence[int]) -> Iterable[Planned]:
    """The runs of a command, for the comparison with a baseline."""
    from duetime.report.baseline import Place, Planned

    for scenario in scenarios:
        plans = [scenario.plan(seed) for seed in seeds]
        hashes = [plan.hash() for plan in plans]
        for design in designs:
            for plan, plan_hash in zip(plans, hashes, strict=True):
                yield Planned(Place(plan.scenario, design, plan.slow), plan.seed, plan_hash)


def outcome_of(
    cells: Sequence[Mapping[str, Any]], *, fails: Sequence[bool], runs: Path, wanted: Output, more: Mapping[str, Any]
) -> Outcome:
    """The outcome of `cells`; with a baseline, only what got worse fails."""
    from duetime.harness.plan import lookup
    from duetime.report.formats import Outcome

    compared = wanted.baseline.compare(cells) if wanted.baseline else None
    fails = [compared.is_worse(cell) for cell in cells] if compared else fails
    return Outcome(cells=cells, fails=fails, scenarios=lookup.names(), runs=runs, compared=compared, more=more)


def compared_status(compared: Compared) -> int:
    """Return the exit status of a command with a baseline: 1 if a cell got worse, 3 if one could not be compared."""
    if compared.worse:
        return EXIT_STATUS["fail"]
    return EXIT_STATUS["unknown" if compared.unproven else "pass"]


def print_compared(compared: Compared) -> None:
    """Print what got worse."""
    click.echo(f"\nSince the baseline {compared.file}: {compared.conclusion}")
    for line in compared.lines:
        click.echo(f"  {line}")
