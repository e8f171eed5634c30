"""Bad input gets one clear sentence, the right exit status, no traceback, and nothing is begun."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.commands import duetime


def refused(done: subprocess.CompletedProcess[str], *, status: int = 2) -> str:
    """The one sentence that was said about it."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 4, done.stderr
    return done.stderr


def test_an_unknown_design_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    said = refused(duetime("compare", "--designs", "push_readmodel,pull_wroker", "--out", str(tmp_path / "runs")))

    assert "no design named 'pull_wroker'" in said
    assert "Did you mean 'pull_worker'?" in said
    assert not (tmp_path / "runs").exists()


def test_an_unknown_scenario_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    said = refused(duetime("run", "push_readmodel", "downtme", "--out", str(tmp_path / "runs")))

    assert "no scenario named 'downtme'" in said
    assert "Did you mean 'downtime'?" in said
    assert not (tmp_path / "runs").exists()


def test_a_design_file_that_does_not_import_is_named_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import nothing_of_this_name\n")

    said = refused(duetime("run", f"{file}:design", "calm", "--out", str(tmp_path / "runs")))

    assert "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DUETIME_DATABASE_URL", "postgresql://somebody:secret@127.0.0.1:1/somewhere"),
        ("DUETIME_DATABASE_URL", "nonsense"),
        ("DUETIME_BROKER_URL", "redis://:secret@127.0.0.1:1/0"),
        ("DUETIME_BROKER_URL", "nonsense"),
        ("DUETIME_BROKER_URL", "redis://:secret@127.0.0.1:1/abc"),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path, variable: str, value: str) -> None:
    said = refused(duetime("run", "push_readmodel", "calm", "--out", str(tmp_path / "runs"), **{variable: value}))

    assert variable in said
    assert "unset it to use the embedded one" in said
    assert "secret" not in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--designs", "reference,duetime/reference.py:design"],
        ["--designs", "reference,reference"],
        ["--scenarios", "calm,calm"],
        ["--scenarios", ","],
    ],
)
def test_a_list_with_something_twice_or_nothing_in_it_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    said = refused(duetime("compare", *arguments, "--out", str(tmp_path / "runs")))

    assert "each once" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--runs", "many"], ["--seed", "x"], ["--colour", "red"]])
def test_a_bad_option_says_what_it_takes(arguments: list[str]) -> None:
    said = refused(duetime("compare", *arguments))

    assert arguments[0] in said


def test_a_directory_that_holds_no_run_is_bad_usage(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in refused(duetime("check", str(tmp_path / "nowhere")))
    assert "plan.json" in refused(duetime("check", str(tmp_path)))


@pytest.mark.processes
def test_a_torn_or_truncated_run_directory_is_unknown_and_says_where(tmp_path: Path) -> None:
    done = duetime("run", "reference", "calm", "--json", "--out", str(tmp_path))
    run_dir = Path(json.loads(done.stdout)["cells"][0]["run_dir"])
    history = (run_dir / "history.jsonl").read_bytes()
    last = history.count(b"\n")

    (run_dir / "history.jsonl").write_bytes(history[:-9])
    torn = duetime("check", str(run_dir))
    (run_dir / "history.jsonl").write_bytes(history[: len(history) // 2])
    truncated = duetime("check", str(run_dir))
    (run_dir / "history.jsonl").write_bytes(history)
    (run_dir / "closed.json").unlink()
    unclosed = duetime("check", str(run_dir))

    assert [torn.returncode, truncated.returncode, unclosed.returncode] == [3, 3, 3]
    assert f"history.jsonl line {last} is torn" in torn.stdout
    assert "history.jsonl has" in truncated.stdout
    assert "never closed" in unclosed.stdout
    assert "Traceback" not in torn.stderr + truncated.stderr + unclosed.stderr
