"""The comparison on a terminal and in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from duetime import registry
from duetime.checker import VIOLATIONS
from duetime.report.conclusions import conclusions, failures, telling
from duetime.report.mechanism import SHRUNK
from duetime.report.mechanisms import MECHANISMS
from duetime.report.table import PIPE_WIDTH, print_comparison, print_overview, try_next

DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue", "contender:celery_rabbitmq:tuned")


def cell(outcome: str = "fail", **more: Any) -> dict[str, Any]:
    return {
        "design": "mine",
        "scenario": "downtime",
        "seed": 1,
        "loaded_as": more.get("design", "mine"),
        "slow": 1,
        "outcome": outcome,
        "within_guarantees": None if outcome == "unknown" else True,
        "counts": {"owed": 55, "arrived": 41, "delivered": 63, "missed": 14, "lost": 10, "stuck": 4, "stale": 4},
        "lateness_s": {"raw": {"p50": 0.0104, "p99": 1.0, "max": 2.5}},
        "violations": {"missed": 14, "stale": 4} if outcome == "fail" else {},
        "explanation": "14 missed, 4 stale. For example: Missed. Notification [a] was accepted. Fix: keep it in rows.",
        "weakness": "forgets",
        "run_dir": "no/such/directory",
        **more,
    }


def printed(*cells: dict[str, Any], width: int = 160, **console: Any) -> str:
    out = io.StringIO()
    print_comparison(Console(file=out, width=width, **console), cells)
    return out.getvalue()


def test_the_first_line_of_each_design_says_what_it_lost_of_how_much_and_what_it_sent_wrongly() -> None:
    quiet = cell("pass", design="push_readmodel", counts={"owed": 30, "arrived": 30})
    text = printed(quiet, cell(), cell(design="broken", within_guarantees=False, violations={"missed": 1, "early": 2}))

    assert text.splitlines()[:3] == [
        "push_readmodel lost nothing of 30",
        "mine missed 14 of 55 and sent 4 in an old version, as documented",
        "broken missed 1 of 55 and sent 2 too early, which BREAKS ITS GUARANTEE",
    ]


def test_a_contender_fails_for_the_reason_in_its_readme_and_its_tuned_variant_is_next() -> None:
    late = cell(design="contender:procrastinate", base="calm", scenario="calm", violations={"late": 3})
    text = printed(late)

    assert "  cause: it looks for due jobs every 5 s (procrastinate/" in text
    assert "Fix: keep it in rows." in text
    assert "contender:procrastinate,contender:procrastinate:tuned" in try_next([late], ["calm"])[0]


@pytest.mark.parametrize("design", ["procrastinate", "contender:procrastinate", "contender:absent"])
def test_what_no_readme_explains_has_no_known_cause_and_the_weakness_is_named_as_such(design: str) -> None:
    assert "  cause: it is not known here; the weakness that the design states: forgets" in printed(
        cell(design=design, violations={"phantom": 3})
    )


def test_runs_that_prove_nothing_are_no_conclusion() -> None:
    one, both = cell("unknown", counts={}), [cell("unknown", counts={}), cell("pass", counts={"owed": 3})]

    assert conclusions([one])[0].sentence == "1 of 1 runs proves nothing"
    assert conclusions(both)[0].sentence == "lost nothing of 3; 1 of 2 runs proves nothing"
    assert conclusions([cell("not applicable")]) == []


def test_a_row_has_the_verdict_in_words_and_what_was_delivered_of_what_was_owed() -> None:
    row = next(line for line in printed(cell()).splitlines() if line.startswith("downtime"))

    assert row.split("  ")[:2] == ["downtime", "mine"]
    assert " ".join(row.split()) == (
        "downtime mine 1 fails, as documented 55 41 14 - lost 10 stuck 4 stale 4 0.010 1.000 2.500"
    )
    assert "BREAKS ITS GUARANTEE" in printed(cell(within_guarantees=False))


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_shows_every_number_and_every_verdict(width: int) -> None:
    names = ("broker_restart_none", "use_cases_downtime")
    cells = [cell(design=design, scenario=name) for name, design in product(names, DESIGNS)]
    text = printed(*cells, width=width)
    words = " ".join(text.split())

    assert "…" not in text
    for name, design in product(names, DESIGNS):
        assert (
            f"{name} / {design}, seed 1: fails, as documented owed 55 · delivered 41 · missed 14 · lost 10 · stuck 4 · "
            "stale 4 · p50 0.010 s · p99 1.000 s · max 2.500 s"
        ) in words
    long = [line for line in text.splitlines() if len(line) > width]
    assert all("duetime check" in line or "https://" in line for line in long), long  # neither is cut, to be copied


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_overview_of_many_designs_is_split_and_cuts_nothing(width: int) -> None:
    cells = [cell(design=f"contender:library_{n}:tuned", scenario=name) for n in range(14) for name in ("a", "b")]
    out = io.StringIO()
    print_overview(Console(file=out, width=width), cells)

    assert out.getvalue().count("✗ missed 14") == 28
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_an_overview_of_several_seeds_has_rates_and_what_went_wrong() -> None:
    cells = [cell(seed=1), cell(seed=2), cell("pass", seed=3), cell("unknown", seed=4)]
    out = io.StringIO()
    print_overview(Console(file=out, width=200), cells)

    assert "✗ 2/3 (21% to 94%) missed 1 unknown" in " ".join(out.getvalue().split())


def test_a_terminal_without_the_marks_gets_words() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_overview(Console(file=out, width=80), [cell(), cell("pass", scenario="calm")])
    out.seek(0)

    assert [line.split()[1:] for line in out.read().splitlines()[1:]] == [["FAIL", "missed", "14"], ["pass"]]


def test_a_slow_run_says_so_in_its_row_and_beside_its_explanation() -> None:
    text = printed(cell(slow=3.0))

    assert "downtime (slow 3)  mine" in text
    assert "mine: missed 14 in downtime (slow 3)" in text


def test_other_labels_are_in_the_order_of_the_list_of_violations() -> None:
    counts = {"delivered": 3, "late": 1, "early": 2, "stale": 3, "phantom": 4, "zombie": 5}

    assert "phantom 4 stale 3 early 2 late 1 zombie 5" in printed(cell(counts=counts))


def test_cells_that_fail_for_one_reason_are_explained_once_with_setting_fix_and_upstream() -> None:
    counts = {"owed": 9, "missed": 3, "stuck": 3}
    queue = [
        cell(design="oban_style_queue", scenario=name, counts=counts, violations={"missed": number})
        for name, number in (("downtime", 3), ("crash", 2))
    ]
    text = printed(*queue)

    assert text.count("setting: visibility_timeout") == text.count("/celery/issues/4976") == 1
    assert "oban_style_queue: missed 3 in downtime and 2 in crash; fails, as documented" in text
    assert "example: Missed. Notification [a] was accepted.\n" in text
    assert try_next(queue, {"downtime", "crash"})[0].endswith(
        "compare --designs oban_style_queue,oban_style_queue:staged --scenarios downtime --seed 1"
    )


def test_a_documented_failure_and_a_broken_guarantee_are_told_apart() -> None:
    text = printed(
        cell(), cell(scenario="crash", within_guarantees=False), cell(scenario="pause", within_guarantees=None)
    )

    for scenario, words in (
        ("downtime", "fails, as documented"),
        ("crash", "BREAKS ITS GUARANTEE"),
        ("pause", "fails"),
    ):
        assert f"mine: missed 14 in {scenario}, stale 4 in {scenario}; {words}\n" in text


def test_what_to_try_next_names_the_design_as_it_was_loaded_and_the_factor() -> None:
    [command] = try_next([cell(loaded_as="my.py:design", slow=3.0)], {"downtime"})

    assert command.endswith("compare --designs my.py:design --scenarios downtime --runs 20 --slow 3")
    assert try_next([cell(scenario="a plan file")], {"downtime"}) == []
    assert try_next([cell("not applicable")], {"downtime"}) == []


@pytest.mark.parametrize(
    "last", ["psycopg.errors.AdminShutdown: terminated", "amqp.exceptions.NotFound", "mine.Bad: x"]
)
def test_a_worker_that_logged_exceptions_is_named_with_the_first_and_the_log(tmp_path: Path, last: str) -> None:
    log = tmp_path / "logs" / "worker-2.log"
    log.parent.mkdir()
    trace = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    f()", last]
    log.write_text("\n".join(["ready", *trace, "[INFO] on", *trace, ""]))

    assert f"log: worker-2 logged 2 exceptions, first: {last} ({log})" in " ".join(
        printed(cell(run_dir=str(tmp_path))).split()
    )


def test_a_design_of_somebody_else_is_explained_by_its_own_weakness() -> None:
    text = printed(cell())

    assert "cause: it is not known here; the weakness that the design states: forgets" in text
    assert "Fix: keep it in rows." in text


def test_a_passing_cell_has_no_explanation() -> None:
    assert "Notification [a]" not in printed(cell("pass"))


def test_a_cell_without_results_says_why() -> None:
    text = printed(
        cell("unknown", counts={}, lateness_s={}, within_guarantees=None, explanation="the run could not begin")
    )

    assert "downtime / mine, seed 1: unknown: the run could not begin" in text


def test_output_in_a_pipe_has_no_escape_codes() -> None:
    assert "\x1b" not in printed(cell(), width=PIPE_WIDTH)
    assert "\x1b" in printed(cell(), force_terminal=True)


def matrix_of_findings() -> Sequence[tuple[str, str, str]]:
    """Scenario, design and kind of each violation in the tables of docs/findings.md."""
    from tests.docs.pages import ROOT

    names: list[str] = []
    found = []
    for line in (ROOT / "docs" / "findings.md").read_text().splitlines():
        first, *cells = (part.strip(" `*") for part in line.strip("|").split("|"))
        if line.startswith("| scenario |"):
            base, names = "", []
            for name in cells:
                base = base if name.startswith(":") else name
                names.append(name if name == base else base + name)
        elif line.startswith("| `"):
            for design, result in zip(names, cells, strict=True):
                kinds = re.findall(r"\w+", result)
                found += [(first, design, kind) for kind in VIOLATIONS if kind in kinds]
    return found


def test_every_failing_cell_of_the_findings_has_its_mechanism() -> None:
    found = matrix_of_findings()
    assert len(found) > 160
    unexplained = [place for place in found if not _explained(*place)]

    assert unexplained == []


def _explained(scenario: str, design: str, kind: str) -> bool:
    counts: Mapping[str, int] = {"stuck": 1} if kind == "missed" else {}
    [failure] = failures([cell(design=design, scenario=scenario, violations={kind: 1}, counts=counts)])
    return failure.mechanism is not None


def test_every_mechanism_names_designs_of_ours_and_a_better_one() -> None:
    names = registry.names()

    for mechanism in MECHANISMS:
        assert any(
            mechanism.explains(name, scenario, mechanism.labels)
            for name in [*names, "celery:shop:app"]
            for scenario in ("crash", *mechanism.scenarios)
        )
        assert not mechanism.better or mechanism.better in names


def test_what_explains_a_scenario_explains_its_shrunk_plan() -> None:
    mechanism = next(mechanism for mechanism in MECHANISMS if mechanism.scenarios == ("dual_write",))
    explained = [mechanism.explains("oban_style_queue", name, mechanism.labels) for name in ("dual_write", "calm")]

    assert explained == [True, False]
    assert mechanism.explains("oban_style_queue", f"dual_write{SHRUNK}", mechanism.labels)


def test_the_telling_count_is_the_gravest() -> None:
    assert telling(cell(violations={"late": 9, "duplicate": 2})) == "duplicate 2"
    assert telling(cell("pass")) == ""
