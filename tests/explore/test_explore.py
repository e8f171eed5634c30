"""Exploring on a real PostgreSQL: correct designs keep their guarantees, and each mutant is found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duetime import registry
from duetime.explore import story
from duetime.explore.drain_once import MIGRATION
from duetime.explore.execution import Execution
from duetime.explore.explorer import Explored, Explorer
from duetime.explore.judge import judge
from duetime.explore.scopes import SMALLEST, scope_named
from duetime.explore.search import Search
from duetime.explore.testbed import running_testbed
from duetime.harness.processes.cleanup import run_tempdir
from tests.commands import duetime

pytestmark = pytest.mark.processes

MUTANTS = Path(__file__).parent / "mutants"
FOUND_IN = {
    "claim_joined_back": ("reschedule", "stale k/1"),
    "claim_without_lock": ("two_workers", "duplicate k/1"),
    "commit_before_delivery": ("two_workers", "duplicate k/1"),
    "ctid_of_partitions": ("schedule_many", "missed k/2"),
    "delete_before_delivery": ("crash", "missed k/1"),
    "delete_without_revision": ("reschedule", "missed k/2"),
    "rescue_by_time": ("two_workers", "duplicate k/1"),
    "switch_without_lock": ("migration_cancel", "phantom k/1"),
    "unfenced_completion": ("reschedule", "missed k/2"),
}
"""Each mutant, the scope in which it is found, and a violation of it."""
MOST_PREEMPTIONS = {"switch_without_lock": 1}
"""Few switches find it sooner than the whole of a large scope."""
IN_SHORT = {"commit_before_delivery", "delete_before_delivery", "unfenced_completion"}
WITHIN_S = 60.0


@pytest.fixture
def tempdir() -> Iterator[Path]:
    with run_tempdir() as path:
        yield path


def explore(name: str, scope: str, tempdir: Path, *, within_s: float = 300.0) -> Explored:
    explored = Explored(scope=scope_named(scope), search=Search())
    with Explorer(registry.load(name), name, explored.scope, tempdir) as explorer:
        explorer.explore(explored, until_s=time.monotonic() + within_s, report=lambda _: None)
    return explored


def file_of(mutant: str) -> str:
    return f"{MUTANTS / mutant}.py:design"


@pytest.mark.parametrize("scope", SMALLEST)
def test_the_drain_keeps_its_guarantees_in_all_of_a_scope(scope: str, tempdir: Path) -> None:
    explored = explore("push_readmodel", scope, tempdir)

    assert explored.violation is None
    assert explored.unknown is None
    assert explored.is_whole
    assert explored.search.interleavings() > 50
    assert explored.judged >= 2


class EveryExecution(Execution):
    """A execution whose states are all different, so that nothing is left out."""

    def state(self) -> str:
        return repr(self.taken)


@pytest.mark.parametrize(
    ("name", "scope"),
    [("push_readmodel", "two_workers"), pytest.param("push_readmodel", "crash", marks=pytest.mark.full)],
)
def test_what_is_left_out_would_have_come_to_the_same(name: str, scope: str, tempdir: Path) -> None:
    """Every interleaving is carried out, and there are as many, with the same verdicts, as were counted."""
    counted = explore(name, scope, tempdir)
    verdicts, search = set(), Search()
    directory = tempdir / "every"
    directory.mkdir()
    design = registry.load(name)
    with running_testbed(design, name, scope_named(scope).participants(), directory) as made:
        while search.left:
            execution = EveryExecution(made, scope_named(scope))
            assert search.next(execution) is not None
            verdicts.add(judge(execution.finish(), scope_named(scope), design.guarantees).broken == ())

    assert search.runs == counted.search.interleavings()
    assert verdicts == {counted.violation is None}


def test_every_mutant_is_named_here() -> None:
    assert {file.stem for file in MUTANTS.glob("*.py")} == set(FOUND_IN)


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.full) for name in FOUND_IN],
)
def test_a_mutant_is_found_within_a_minute_and_its_schedule_repeats(mutant: str, tempdir: Path) -> None:
    scope, violation = FOUND_IN[mutant]
    name = file_of(mutant)
    explored = Explored(scope=scope_named(scope), search=Search(MOST_PREEMPTIONS.get(mutant)))
    with Explorer(registry.load(name), name, explored.scope, tempdir) as explorer:
        explorer.explore(explored, until_s=time.monotonic() + WITHIN_S, report=lambda _: None)
        assert explored.violation
        assert violation in explored.violation.verdict.broken
        again = explorer.replay(explored.violation.steps)

    assert again.verdict.broken == explored.violation.verdict.broken
    assert story.table(again) == story.table(explored.violation)
    assert violation.partition(" ")[2] in story.sentence(again)


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.full)])
def test_a_schedule_repeats(times: int, tempdir: Path) -> None:
    scope = scope_named("reschedule")
    explored = Explored(scope=scope, search=Search())
    with Explorer(registry.load("push_readmodel"), "push_readmodel", scope, tempdir) as explorer:
        explorer.explore(explored, until_s=time.monotonic() + 2, report=lambda _: None)
        steps = explored.search.left[-1].prefix
        executions = [explorer.replay(steps) for _ in range(times)]

    assert len({story.table(execution) for execution in executions}) == 1
    assert len({str(execution.verdict) for execution in executions}) == 1


def test_a_killed_worker_is_the_reason_for_a_repeat_and_for_no_loss(tempdir: Path) -> None:
    explored = explore("push_readmodel", "crash", tempdir)

    assert explored.is_whole
    assert explored.violation is None
    assert explored.allowed.keys() == {"duplicate"}


@pytest.mark.parametrize(("name", "allowed"), [("push_readmodel", set()), ("oban_style_queue:staged", {"duplicate"})])
def test_an_effect_in_the_transaction_that_deletes_its_row_happens_once(
    name: str, allowed: set[str], tempdir: Path
) -> None:
    """`staged` executes it in a transaction of its own, so a kill before the next one repeats it."""
    explored = explore(name, "effect_crash", tempdir)

    assert explored.is_whole
    assert explored.violation is None
    assert explored.allowed.keys() == allowed


def test_the_command_keeps_what_is_left_and_goes_on(tmp_path: Path) -> None:
    arguments = ("explore", "push_readmodel", "two_workers", "--out", str(tmp_path))

    first = duetime(*arguments, "--budget", "0.001s")
    second = duetime(*arguments, "--continue")

    assert first.returncode == 3
    assert "not all of it" in first.stderr
    assert second.returncode == 0
    assert "all of the scope" in second.stdout
    assert "0 violations" in second.stdout


def test_the_command_shows_a_violation_and_writes_a_test_of_it(tmp_path: Path) -> None:
    done = duetime("explore", file_of("commit_before_delivery"), "two_workers", "--out", str(tmp_path), "--as-test")
    folder = tmp_path / "commit_before_delivery"

    assert done.returncode == 1
    assert "k/1 was delivered 2 times, by worker-1 and worker-2" in done.stdout
    page = (folder / "two_workers.html").read_text()
    assert "delivers k/1" in page
    assert "<h1>commit_before_delivery in two_workers</h1>" in page
    again = duetime("explore", "--replay", str(folder / "two_workers.json"))
    assert again.returncode == 1
    assert again.stdout.splitlines()[0].split() == ["step", "worker-1", "worker-2"]
    assert 'replayed(Path(__file__).with_name("two_workers.json"))' in (folder / "test_two_workers.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pull_worker",), "pull_worker cannot be explored; the designs that can are push_readmodel"),
        (("push_readmodel", "everything"), "there is no scope 'everything'; the scopes are two_workers"),
        (("push_readmodel", "migration"), "push_readmodel cannot be explored in the scope 'migration'; its scopes are"),
        ((MIGRATION, "crash"), "its scopes are migration, migration_cancel"),
        ((), "name a design: push_readmodel"),
        (("push_readmodel", "--budget", "5"), "'5' is no time; write 90s, 5m or 1h"),
        (("push_readmodel", "--walks", "5", "--continue"), "leave out --preemptions and --continue"),
    ],
)
def test_bad_usage_is_named(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = duetime("explore", *arguments, "--out", str(tmp_path / "out"))

    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
