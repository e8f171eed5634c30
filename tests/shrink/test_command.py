"""``duetime shrink``: what it refuses, prints and writes, with runs that take no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from duetime.cli.main import cli
from duetime.cli.shrink import shrink_failing
from duetime.errors import BadUsage
from duetime.harness.plan import lookup
from duetime.harness.plan.plan import Plan
from duetime.harness.runs.cell import stored_cell
from duetime.shrink import shrinking
from duetime.shrink.failed_run import failed_run
from duetime.shrink.kinds import Observed
from duetime.shrink.shrinking import alone_in, directory_of
from tests.cli.stored import stored_run
from tests.shrink.fake_runs import due_while_down

Fails = Callable[[Plan], bool]


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    return stored_run(tmp_path / "stored", design="pull_worker", scenario="downtime", came=0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, failed: Path) -> Callable[..., list[Sequence[Plan]]]:
    """Lets the runs of the command fail as the stored one did, where a rule says so."""

    def replaced(
        fails: Fails, *, stop_after: int | None = None, signal: BaseException | None = None
    ) -> list[Sequence[Plan]]:
        shown, batches = frozenset(failed_run(failed).found), list[Sequence[Plan]]()

        def run_all(plans: Sequence[Plan]) -> list[Observed]:
            if signal and len(batches) == stop_after:
                raise signal
            batches.append(plans)
            return [shown if fails(plan) else frozenset() for plan in plans]

        @contextmanager
        def runs(*_: object) -> Iterator[Callable[[Sequence[Plan]], list[Observed]]]:
            yield run_all

        monkeypatch.setattr(shrinking, "real_runs", runs)
        return batches

    return replaced


def shrink(*arguments: str | Path) -> int:
    """Run the command; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.commands["shrink"].main(list(map(str, arguments)), standalone_mode=False)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_it_writes_a_plan_that_run_takes_and_tells_what_happens_in_it(
    failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(due_while_down)

    assert shrink(failed, "--out", tmp_path) == 0

    printed = capsys.readouterr()
    plan_file = next(tmp_path.glob("shrunk/downtime-pull_worker-seed1-*/shrunk.json"))
    plan = lookup.named(str(plan_file)).plan(1)
    assert (len(plan.operations), len(plan.faults), plan.scenario) == (1, 1, "downtime-shrunk")
    assert "Nothing more can be taken away" in printed.out
    assert "Missed (lost): one reminder, due 0." in printed.out
    assert "s after the only worker was killed; restart" in printed.out
    assert "Now:    1 operation, 1 fault, 1 worker" in printed.out
    assert f"run pull_worker {plan_file}" in printed.out
    assert "so far 1 operation, 1 fault, 1 worker" in printed.err


def test_a_program_reads_the_same(failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(due_while_down)

    assert shrink(failed, "--out", tmp_path, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["violation"] == {"label": "missed", "place": "lost", "covered": True}
    assert (found["ending"], found["operations"], found["faults"], found["workers"]) == ("minimal", 1, 1, 1)
    assert Path(found["plan"]).exists()
    assert (found["shown"], found["runs"]) == (5, 5)


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143)], ids=["SIGINT", "SIGTERM"])
def test_after_a_signal_the_best_is_written_and_the_same_command_continues(
    failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], signal: BaseException
) -> None:
    before = fake(due_while_down, stop_after=4, signal=signal)
    with pytest.raises((KeyboardInterrupt, SystemExit, click.Abort)):
        cli.commands["shrink"].main([str(failed), "--out", str(tmp_path)], standalone_mode=False)

    printed = capsys.readouterr().out
    assert "Interrupted; this is the smallest plan so far. The same command continues." in printed
    kept = lookup.named(str(next(tmp_path.glob("shrunk/*/shrunk.json")))).plan(1)
    assert due_while_down(kept)
    assert len(kept.operations) < len(failed_run(failed).plan.operations)

    after = fake(due_while_down)
    assert shrink(failed, "--out", tmp_path) == 0
    again = fake(due_while_down)
    assert shrink(failed, "--out", tmp_path, "--again") == 0
    assert len(again) == len(before) + len(after)


def test_out_of_budget_it_says_so(failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batches = fake(due_while_down)

    assert shrink(failed, "--out", tmp_path, "--budget", "10s") == 3

    assert batches == []
    assert "The budget is used up; no smaller plan was found so far." in capsys.readouterr().out


def test_what_does_not_fail_again_is_unknown(
    failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(lambda _plan: False)

    assert shrink(failed, "--out", tmp_path) == 3

    assert "The whole plan failed in 0 of 3 runs" in capsys.readouterr().out


def test_a_failure_of_chance_says_its_rate(
    failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = iter(range(10_000))
    fake(lambda plan: due_while_down(plan) and next(counted) % 3 == 0)

    assert shrink(failed, "--out", tmp_path) == 0

    assert "It is a failure of chance: the whole plan failed in 1 of 3 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shows", "4"], "--shows 4 of --repeats 3"),
        (["--kind", "early"], "shows no such violation; write one of missed"),
    ],
)
def test_it_refuses_what_cannot_be(failed: Path, arguments: Sequence[str], message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        cli.commands["shrink"].main([str(failed), *arguments], standalone_mode=False)


def test_two_commands_do_not_mix_their_runs(failed: Path, fake: Any, tmp_path: Path) -> None:
    fake(due_while_down)
    directory = directory_of(failed_run(failed), tmp_path)
    directory.mkdir(parents=True)

    with alone_in(directory), pytest.raises(BadUsage, match="another duetime shrink is at work in"):
        cli.commands["shrink"].main([str(failed), "--out", str(tmp_path)], standalone_mode=False)


@pytest.mark.parametrize("budget", ["5", "m", "0s", "-1m", "infm", "5 minutes", ""])
def test_a_budget_needs_a_unit(failed: Path, budget: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 5m or 1h"):
        cli.commands["shrink"].make_context("shrink", [str(failed), "--budget", budget])


@pytest.mark.parametrize(("budget", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400)])
def test_a_budget_is_a_time(failed: Path, budget: str, seconds: float) -> None:
    context = cli.commands["shrink"].make_context("shrink", [str(failed), "--budget", budget])

    assert context.params["budget_s"] == seconds


def test_only_a_run_that_failed_can_be_shrunk(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="the verdict is pass, and only a run that failed can be shrunk"):
        cli.commands["shrink"].main([str(stored_run(tmp_path))], standalone_mode=False)


def test_a_directory_with_one_run_will_do_and_of_several_one_is_to_be_named(failed: Path, tmp_path: Path) -> None:
    assert failed_run(tmp_path).run_dir == failed

    stored_run(tmp_path / "stored", scenario="calm")
    with pytest.raises(BadUsage, match=f"there are 2 runs below {tmp_path}; name one that failed"):
        failed_run(tmp_path)


def test_compare_shrinks_each_failing_cell_and_prints_it_where_no_program_reads(
    failed: Path, fake: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(due_while_down)
    passed = stored_run(tmp_path / "stored", scenario="downtime")

    shrink_failing([stored_cell(failed), stored_cell(passed)], out=tmp_path, as_text=False)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("Nothing more can be taken away") == 1
    assert [path.name.split("-seed")[0] for path in (tmp_path / "shrunk").iterdir()] == ["downtime-pull_worker"]
