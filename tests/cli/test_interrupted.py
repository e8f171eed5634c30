"""Ctrl-C prints what has finished, how many runs were kept, and the command that reports on them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from duetime.checker import judge, write_results
from duetime.cli.interrupted import SoFar, printed_if_interrupted
from duetime.harness.runs.cell import stored_cell
from duetime.shell_command import shell_command
from tests.cli.stored import stored_run
from tests.eventually import assert_eventually
from tests.short_plan import written_to


def judged(run_dir: Path) -> Path:
    write_results(judge(run_dir), run_dir)
    return run_dir


@pytest.fixture
def so_far(tmp_path: Path) -> SoFar:
    """One run was handed over, one was judged beside a run that was interrupted, and one was interrupted and judged."""
    directory = tmp_path / "20300101-120000"
    first = stored_cell(judged(stored_run(directory)))
    judged(stored_run(directory, design="pull_worker", came=2))
    judged(stored_run(directory, design="oban_style_queue", closed=False))
    weaknesses = {"pull_worker": "is the naive one"}
    return SoFar(planned=12, weaknesses=weaknesses, directory=directory, cells=[first])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit(143)])
def test_it_prints_what_has_finished_and_what_reports_on_it(
    so_far: SoFar, capsys: pytest.CaptureFixture[str], interruption: type[BaseException] | BaseException
) -> None:
    with pytest.raises((KeyboardInterrupt, SystemExit)), printed_if_interrupted(so_far, as_text=True):
        raise interruption

    printed = capsys.readouterr()
    assert re.search(r"push_readmodel +1 +pass", printed.out)
    assert re.search(r"pull_worker +1 +fail", printed.out)
    assert "oban_style_queue" not in printed.out
    assert f"2 of 12 runs have finished, kept in {so_far.directory}/" in printed.err
    assert so_far.directory and shell_command("check", so_far.directory) in printed.err
    assert (so_far.directory.parent / "latest").resolve() == so_far.directory


def test_standard_output_stays_empty_where_a_program_reads_it(
    so_far: SoFar, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), printed_if_interrupted(so_far, as_text=False):
        raise KeyboardInterrupt

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2 of 12 runs have finished" in printed.err


def test_before_the_first_run_has_finished_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    so_far = SoFar(planned=12, weaknesses={}, directory=tmp_path)
    with pytest.raises(KeyboardInterrupt), printed_if_interrupted(so_far, as_text=True):
        raise KeyboardInterrupt

    assert capsys.readouterr().err == "duetime: none of 12 runs had finished\n"


@pytest.mark.runs
@pytest.mark.full
def test_ctrl_c_in_the_second_of_two_runs_keeps_the_first(tmp_path: Path) -> None:
    plan, out = written_to(tmp_path / "short.json"), tmp_path / "runs"
    command = [sys.executable, "-m", "duetime.cli", "compare", "--designs", "reference", "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--scenarios", f"{plan},downtime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    # The second run starts its processes while the first one ends.
    assert_eventually(lambda: list(out.glob("*/short/*/results.json")), within_s=120)
    os.kill(process.pid, signal.SIGINT)
    printed, messages = process.communicate(timeout=60)

    assert process.returncode == 130, messages
    assert re.search(r"short +reference +1 +pass", printed)
    assert "1 of 2 runs have finished" in messages
    assert messages.endswith("duetime: interrupted; every process that it started has ended\n")
