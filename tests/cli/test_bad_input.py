"""Bad input gives one sentence, the right exit status and no traceback, and starts nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.stored import stored_run
from tests.commands import duetime


def refused(done: subprocess.CompletedProcess[str], *, status: int = 2) -> str:
    """Return the error message of a command that was refused."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 4, done.stderr
    return done.stderr


def test_an_unknown_design_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    message = refused(duetime("compare", "--designs", "push_readmodel,pull_wroker", "--out", str(tmp_path / "runs")))

    assert "no design named 'pull_wroker'" in message
    assert "Did you mean 'pull_worker'?" in message
    assert not (tmp_path / "runs").exists()


def test_an_unknown_scenario_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    message = refused(duetime("run", "push_readmodel", "downtme", "--out", str(tmp_path / "runs")))

    assert "no scenario named 'downtme'" in message
    assert "Did you mean 'downtime'?" in message
    assert not (tmp_path / "runs").exists()


def test_a_design_file_that_cannot_be_imported_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import nothing_of_this_name\n")

    message = refused(duetime("run", f"{file}:design", "calm", "--out", str(tmp_path / "runs")))

    assert "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'" in message
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
def test_a_server_that_does_not_answer_is_reported_without_its_password(
    tmp_path: Path, variable: str, value: str
) -> None:
    message = refused(duetime("run", "push_readmodel", "calm", "--out", str(tmp_path / "runs"), **{variable: value}))

    assert variable in message
    assert "unset it to use the embedded one" in message
    assert "secret" not in message
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
def test_a_list_with_a_duplicate_or_without_a_name_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    message = refused(duetime("compare", *arguments, "--out", str(tmp_path / "runs")))

    assert "each once" in message
    assert not (tmp_path / "runs").exists()


def test_a_stored_plan_of_a_scenario_that_is_named_too_is_refused(tmp_path: Path) -> None:
    plan = stored_run(tmp_path) / "plan.json"

    message = refused(duetime("compare", "--scenarios", f"crash,{plan}", "--out", str(tmp_path / "runs")))

    assert "has crash twice, once as a stored plan" in message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--runs", "many"], ["--seed", "x"], ["--colour", "red"]])
def test_a_bad_option_is_named(arguments: list[str]) -> None:
    message = refused(duetime("compare", *arguments))

    assert arguments[0] in message


def test_a_directory_that_holds_no_run_is_bad_usage(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in refused(duetime("check", str(tmp_path / "nowhere")))
    assert "plan.json" in refused(duetime("check", str(tmp_path)))


@pytest.mark.processes
def test_a_torn_or_truncated_run_directory_is_unknown_and_the_reason_names_the_file(tmp_path: Path) -> None:
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
