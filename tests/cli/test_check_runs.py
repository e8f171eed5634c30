"""`duetime check` of a directory judges every run below it, groups what has one cause, and has one exit status."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from duetime.cli.main import cli
from duetime.errors import BadUsage
from duetime.shell_command import program
from tests.cli.stored import stored_run


def check(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two designs, three seeds; the queue misses the same notification in each run, once another design repeats one."""
    directory = tmp_path / "20300101-120000"
    for seed in (1, 2, 3):
        stored_run(directory, design="oban_style_queue", seed=seed, came=0)
        stored_run(directory, design="push_readmodel", seed=seed, came=2 if seed == 3 else 1)
    return directory


def test_violations_of_one_design_that_came_about_in_the_same_way_are_one_cause(runs: Path) -> None:
    causes = json.loads(check(runs, "--format", "json").stdout)["causes"]

    assert [(it["design"], it["label"], it["place"], it["runs"], it["violations"]) for it in causes] == [
        ("oban_style_queue", "missed", "lost", 3, 3),
        ("push_readmodel", "duplicate", None, 1, 1),
    ]
    assert causes[0]["faults"] == ["a worker was killed and down"]


def test_what_happened_to_different_workers_is_one_cause(tmp_path: Path) -> None:
    for seed, worker in ((1, "worker-1"), (2, "worker-2")):
        faults = stored_run(tmp_path, seed=seed, came=0) / "faults.jsonl"
        faults.write_text(faults.read_text().replace("worker-1", worker))

    assert len(json.loads(check(tmp_path, "--json").stdout)["causes"]) == 1


def test_the_text_has_the_matrix_and_an_example_of_each_cause_with_its_command(runs: Path) -> None:
    printed = check(runs).stdout

    assert printed.startswith("oban_style_queue missed 3 of 6, as documented.\n")
    assert re.search(r"crash +✗ 3/3 \(44% to 100%\) missed", printed)
    assert "    1     3           3  oban_style_queue  missed while a worker was killed and down, no store" in printed
    [command] = [line.strip() for line in printed.splitlines() if "oban_style_queue-seed1" in line]
    arguments = shlex.split(command.removeprefix(program()))
    assert CliRunner().invoke(cli, arguments).stdout.startswith("fails, as documented ")


def test_every_run_gets_its_results(runs: Path) -> None:
    check(runs)

    assert len(list(runs.glob("*/*/results.json"))) == 6


def broken(run_dir: Path) -> None:
    """Let the design of `run_dir` guarantee what it does not do."""
    plan = json.loads((run_dir / "plan.json").read_text())
    plan["guarantees"]["delivery"] = "at_least_once"
    (run_dir / "plan.json").write_text(json.dumps(plan))


def test_the_exit_status_is_that_of_compare(tmp_path: Path) -> None:
    stored_run(tmp_path)
    assert check(tmp_path).exit_code == 0

    missed = stored_run(tmp_path, design="oban_style_queue", came=0)
    assert check(tmp_path).exit_code == 0, "it may miss under a fault"
    assert check(tmp_path, "--strict").exit_code == 1

    stored_run(tmp_path, seed=2, closed=False)
    done = check(tmp_path)
    assert done.exit_code == 3
    assert "1 of 3 runs did not finish" in done.stderr

    broken(missed)
    done = check(tmp_path)
    assert done.exit_code == 1
    assert (
        "3 runs: 1 fail, 1 unknown\n  crash / oban_style_queue, seed 1: BREAKS ITS GUARANTEE: missed 1\n" in done.stdout
    )


def test_a_run_that_cannot_be_read_is_named_and_is_no_pass(tmp_path: Path) -> None:
    stored_run(tmp_path)
    bad = stored_run(tmp_path, seed=2)
    (bad / "plan.json").write_text("{")

    done = check(tmp_path)
    assert done.exit_code == 3
    assert f"skipped: {bad}: {bad}/plan.json is not a plan" in done.stderr


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    assert "is it a run directory?" in str(check(tmp_path).exception)


def test_labels_are_of_one_run(runs: Path) -> None:
    assert isinstance(check(runs, "--labels").exception, BadUsage)


@pytest.mark.parametrize("one", [True, False])
def test_each_form_is_printed_or_written_to_a_file_beside_the_text(runs: Path, tmp_path: Path, one: bool) -> None:
    where = runs / "crash" / "push_readmodel-seed3" if one else runs

    printed = check(where, "--format", "junit", "--strict")
    assert ET.fromstring(printed.stdout).tag == "testsuites"  # noqa: S314 - our own text
    assert printed.exit_code == 1

    beside = check(where, "--format", "junit", "--output", tmp_path / "junit.xml", "--strict")
    assert (tmp_path / "junit.xml").read_text() == printed.stdout
    assert beside.stdout == check(where, "--strict").stdout


def test_the_json_of_one_run_is_its_results_and_its_cell_and_so_a_baseline(runs: Path, tmp_path: Path) -> None:
    run_dir, file = runs / "crash" / "push_readmodel-seed3", tmp_path / "baseline.json"
    check(run_dir, "--format", "json", "--output", file)

    results = json.loads((run_dir / "results.json").read_text())
    assert json.loads(check(run_dir, "--json").stdout).items() >= {**results, "format": 1}.items()
    assert check(run_dir, "--baseline", file).exit_code == 0


def test_with_a_baseline_a_run_that_cannot_be_read_is_no_pass_either(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    stored_run(tmp_path / "runs")
    check(tmp_path / "runs", "--format", "json", "--output", file)
    (stored_run(tmp_path / "runs", seed=2) / "plan.json").write_text("{")

    assert check(tmp_path / "runs", "--baseline", file).exit_code == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "x.xml"], "add --format json|markdown|junit|github"),
        (["--format", "junit", "--output", "nowhere/x.xml"], "there is no directory"),
        (["--format", "junit", "--json"], "--json is --format json, and --format junit was written too"),
        (["--labels", "--format", "junit"], "--labels prints lines of its own"),
        (["--baseline", "baseline.json", "--strict"], "leave out --strict and --fail-on"),
    ],
)
def test_options_that_contradict_one_another_are_refused(runs: Path, options: list[str], message: str) -> None:
    done = check(runs / "crash" / "push_readmodel-seed3", *options)

    assert isinstance(done.exception, BadUsage)
    assert message in str(done.exception)


def test_a_baseline_that_was_written_lets_the_same_failures_pass_and_new_ones_fail(runs: Path, tmp_path: Path) -> None:
    one, file = runs / "crash" / "push_readmodel-seed1", tmp_path / "baseline.json"
    stored = tmp_path / "one"
    stored_run(stored)
    check(stored, "--format", "json", "--output", file)

    assert check(one, "--baseline", file).exit_code == 0
    worse = tmp_path / "worse"
    stored_run(worse, came=2)
    done = check(worse, "--baseline", file)
    assert done.exit_code == 1
    assert (
        "crash / push_readmodel: worse: a broken guarantee and duplicate, which the baseline does not have"
        in done.stdout
    )
    value: dict[str, Any] = json.loads(check(worse, "--baseline", file, "--json").stdout)
    assert value["baseline"]["worse"] == [
        {
            "cell": "crash / push_readmodel",
            "kinds": ["a broken guarantee", "duplicate"],
            "before": [0, 1],
            "now": [1, 1],
            "p": None,
        }
    ]


def test_a_baseline_of_other_seeds_is_refused(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    check(runs, "--format", "json", "--output", file)

    done = check(runs / "crash" / "push_readmodel-seed1", "--baseline", file)
    assert "has seeds 1 to 3 of crash / push_readmodel, and this command seed 1" in str(done.exception)


@pytest.mark.parametrize("command", [["run", "push_readmodel", "crash"], ["compare", "--scenarios", "crash"]])
def test_a_run_that_the_baseline_does_not_have_is_refused_before_it_begins(tmp_path: Path, command: list[str]) -> None:
    file, out = tmp_path / "baseline.json", tmp_path / "out"
    stored_run(tmp_path / "runs", seed=7)
    check(tmp_path / "runs", "--format", "json", "--output", file)

    done = CliRunner().invoke(cli, [*command, "--baseline", str(file), "--out", str(out)])

    assert isinstance(done.exception, BadUsage)
    assert re.search(r"has (no crash / \w+, only|seed 7 of crash / push_readmodel, and this)", str(done.exception))
    assert not out.exists()
