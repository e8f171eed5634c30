"""What got worse since an earlier comparison, beyond what chance explains."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, Final, NamedTuple

from duetime.errors import BadUsage

COMPARISON_FORMAT: Final = 1
"""Of the JSON value of a comparison."""
ALPHA: Final = 0.05
"""The most with which a whole comparison may accuse a design that did not change."""
FEWEST: Final = 5
"""Of five runs of each side, five failures after none are worse beyond chance (p = 0.004), also among twelve cells."""
GUARANTEE: Final = "a broken guarantee"
MAKE_ANEW: Final = "to make it anew, write --format json --output FILE instead of --baseline FILE in the same command"

Cell = Mapping[str, Any]


class Place(NamedTuple):
    """A cell of the matrix, without its seeds."""

    scenario: str
    design: str
    slow: float

    def __str__(self) -> str:
        slow = f" (slow {self.slow:g})" if self.slow != 1 else ""
        return f"{self.scenario}{slow} / {self.design}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that is to be compared; plan_hash: of its plan, the same for every design."""

    place: Place
    seed: int
    plan_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse:
    """A cell that is worse than in the baseline.

    kinds: the violations whose rate rose. before, now: runs that have them, and runs judged. p: the probability of such
    a rise by chance; None for a single run, which tells nothing about chance.
    """

    place: str
    kinds: Sequence[str]
    before: tuple[int, int]
    now: tuple[int, int]
    p: float | None

    @property
    def sentence(self) -> str:
        kinds = " and ".join(self.kinds)
        if self.p is None:
            return f"{kinds}, which the baseline does not have"
        (bad, of), (bad_before, of_before) = self.now, self.before
        return f"{kinds} in {bad} of {of} runs, before in {bad_before} of {of_before} (p = {self.p:.2g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison with a baseline. unproven: the cells that could not be compared, each with the reason."""

    file: Path
    cells: int
    worse: Sequence[Worse]
    unproven: Sequence[str]

    @property
    def conclusion(self) -> str:
        worse = len({it.place for it in self.worse})
        cells = f"{self.cells} cell{'s' if self.cells != 1 else ''}"
        got_worse = f"{worse} of {cells} got worse" if worse else f"nothing got worse in {cells}"
        return f"{got_worse}, and {len(self.unproven)} could not be compared" if self.unproven else got_worse

    @property
    def lines(self) -> list[str]:
        """One line for each cell that got worse or could not be compared."""
        return [*(f"{it.place}: worse: {it.sentence}" for it in self.worse), *self.unproven]

    def is_worse(self, cell: Cell) -> bool:
        """Return True if `cell` has a violation of a kind that got worse."""
        place = str(_place(cell))
        return any(it.place == place and _kinds(cell) & set(it.kinds) for it in self.worse)

    def to_json(self) -> dict[str, Any]:
        worse = [
            {"cell": it.place, "kinds": list(it.kinds), "before": list(it.before), "now": list(it.now), "p": it.p}
            for it in self.worse
        ]
        return {"file": str(self.file), "worse": worse, "unproven": list(self.unproven)}


class Baseline:
    """The cells of an earlier comparison."""

    def __init__(self, file: Path) -> None:
        """Read `file`.

        Raises:
            BadUsage: it is not the JSON value of a comparison, or of another format.
        """
        self.file = file
        self._runs: dict[Place, dict[int, Cell]] = defaultdict(dict)
        for cell in _read(file):
            if cell["seed"] in self._runs[_place(cell)]:
                raise BadUsage(
                    f"--baseline {str(file)!r} has two runs of {_place(cell)}, seed {cell['seed']}; {MAKE_ANEW}, for "
                    "one comparison at a time"
                )
            self._runs[_place(cell)][cell["seed"]] = cell

    def check_comparable(self, planned: Iterable[Planned]) -> None:
        """Check that the baseline has each planned run.

        Raises:
            BadUsage: it is of another scenario, design, seed or plan, a run is planned twice, or there are too few runs
            to tell from chance.
        """
        seeds: dict[Place, dict[int, str]] = defaultdict(dict)
        for run in planned:
            if run.seed in seeds[run.place]:
                raise BadUsage(
                    f"there are two runs of {run.place}, seed {run.seed}; compare one comparison at a time with the "
                    "baseline, such as runs/latest"
                )
            seeds[run.place][run.seed] = run.plan_hash
        for place, wanted in seeds.items():
            self._check_place(place, wanted)

    def _check_place(self, place: Place, wanted: Mapping[int, str]) -> None:
        there = self._runs.get(place)
        if there is None:
            known = ", ".join(str(known) for known in self._runs)
            raise BadUsage(f"--baseline {str(self.file)!r} has no {place}, only {known}; {MAKE_ANEW}")
        if set(there) != set(wanted):
            raise BadUsage(
                f"--baseline {str(self.file)!r} has {seeds_text(there)} of {place}, and this command "
                f"{seeds_text(wanted)}; write {_options(there)}, or {MAKE_ANEW}"
            )
        if 1 < len(wanted) < FEWEST:
            raise BadUsage(
                f"--baseline with {len(wanted)} runs of a cell tells no change from chance; write --runs 1 for the "
                f"kinds of violation alone, or --runs {FEWEST} and more for rates (20 see smaller changes)"
            )
        changed = [seed for seed, plan_hash in wanted.items() if there[seed]["plan_hash"] not in ("", plan_hash)]
        if changed:
            raise BadUsage(
                f"--baseline {str(self.file)!r} is of another plan of {place}, seed {changed[0]}: the scenario has "
                f"changed since; {MAKE_ANEW}"
            )

    def compare(self, cells: Sequence[Cell]) -> Compared:
        """Compare `cells`, of which the baseline has each."""
        now: dict[Place, list[Cell]] = defaultdict(list)
        for cell in cells:
            now[_place(cell)].append(cell)
        tests: list[Worse] = []
        worse: list[Worse] = []
        unproven: list[str] = []
        for place, runs in now.items():
            before = list(self._runs[place].values())
            if reason := _not_comparable(before, runs):
                unproven.append(f"{place}: {reason}")
            elif len(runs) == 1:
                worse += _new_kinds(place, before[0], runs[0])
            else:
                tests += _tests(place, _judged(before), _judged(runs))
        limit = _limit([_least_p(test) for test in tests])
        worse += [test for test in tests if test.p is not None and test.p <= limit]
        return Compared(file=self.file, cells=len(now), worse=worse, unproven=[one for one in unproven if one])


def _read(file: Path) -> list[Cell]:
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise BadUsage(f"--baseline {str(file)!r} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BadUsage(f"--baseline {str(file)!r} is not JSON ({error}); {MAKE_ANEW}") from error
    if not isinstance(value, dict) or "cells" not in value:
        raise BadUsage(f"--baseline {str(file)!r} is JSON, but not of a comparison; {MAKE_ANEW}")
    if value.get("format") != COMPARISON_FORMAT:
        raise BadUsage(
            f"--baseline {str(file)!r} is in format {value.get('format')!r}, and this duetime compares with format "
            f"{COMPARISON_FORMAT}; {MAKE_ANEW}"
        )
    try:
        cells = list(value["cells"])
        for cell in cells:
            _ = _place(cell), cell["seed"] + 0, cell["outcome"], cell["plan_hash"], _kinds(cell)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadUsage(
            f"--baseline {str(file)!r} has a cell that cannot be read ({type(error).__name__} {error}); {MAKE_ANEW}"
        ) from error
    return cells


def _place(cell: Cell) -> Place:
    # A cell for a page may have the factor in the name of its scenario already.
    return Place(str(cell.get("base", cell["scenario"])), str(cell["design"]), float(cell["slow"]))


def _kinds(cell: Cell) -> set[str]:
    broken = {GUARANTEE} if cell["within_guarantees"] is False else set()
    return {str(label) for label, number in cell["violations"].items() if number} | broken


def _judged(cells: Iterable[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell["outcome"] in ("pass", "fail")]


def _not_comparable(before: Sequence[Cell], now: Sequence[Cell]) -> str:
    """Return why nothing can be said, or an empty string."""
    if all(cell["outcome"] == "not applicable" for cell in now):
        there = {cell["outcome"] for cell in before}
        return "" if there == {"not applicable"} else "not applicable any more"
    fewest = min(FEWEST, len(now))
    for cells, where in ((before, "the baseline"), (now, "this command")):
        if len(_judged(cells)) < fewest:
            return f"{len(_judged(cells))} of {len(cells)} runs of {where} could be judged, and {fewest} are needed"
    return ""


def _new_kinds(place: Place, before: Cell, now: Cell) -> list[Worse]:
    kinds = sorted(_kinds(now) - _kinds(before))
    return [Worse(place=str(place), kinds=kinds, before=(0, 1), now=(1, 1), p=None)] if kinds else []


def _tests(place: Place, before: Sequence[Cell], now: Sequence[Cell]) -> list[Worse]:
    """Return a test for each violation; one for those that always come together."""
    found: dict[tuple[frozenset[int], frozenset[int]], list[str]] = defaultdict(list)
    for kind in sorted(set[str]().union(*map(_kinds, [*before, *now]))):
        had = frozenset(cell["seed"] for cell in before if kind in _kinds(cell))
        has = frozenset(cell["seed"] for cell in now if kind in _kinds(cell))
        found[had, has].append(kind)
    return [
        Worse(
            place=str(place),
            kinds=kinds,
            before=(len(had), len(before)),
            now=(len(has), len(now)),
            p=fisher(len(has), len(now), len(had), len(before)),
        )
        for (had, has), kinds in found.items()
    ]


def fisher(bad: int, of: int, bad_before: int, of_before: int) -> float:
    """The probability of at least `bad` of the failures among `of` runs if both rates are the same.

    Fisher's exact test, one-sided (Fisher 1935), over the tables with as many failures altogether.
    """
    failures, runs = bad + bad_before, of + of_before
    at_least = sum(comb(of, k) * comb(of_before, failures - k) for k in range(bad, min(of, failures) + 1))
    return at_least / comb(runs, failures)


def _least_p(test: Worse) -> float:
    """The least p that a table with as many failures altogether can have."""
    failures, of, of_before = test.now[0] + test.before[0], test.now[1], test.before[1]
    most = min(of, failures)
    return fisher(most, of, failures - most, of_before)


def _limit(least: Sequence[float]) -> float:
    """The p up to which a cell is worse, so that an unchanged comparison is accused with at most `ALPHA`.

    Bonferroni's correction for the tests that can be significant at all (Tarone 1990, Biometrics 46): a cell that never
    fails, or always, costs the others nothing.
    """
    return next((ALPHA / k for k in range(1, len(least) + 1) if sum(p <= ALPHA / k for p in least) <= k), ALPHA)


def seeds_text(seeds: Iterable[int]) -> str:
    ordered = sorted(seeds)
    if len(ordered) == 1:
        return f"seed {ordered[0]}"
    if ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"seeds {ordered[0]} to {ordered[-1]}"
    return f"seeds {', '.join(map(str, ordered))}"


def _options(seeds: Iterable[int]) -> str:
    ordered = sorted(seeds)
    return f"--seed {ordered[0]}" + (f" --runs {len(ordered)}" if len(ordered) > 1 else "")
