"""The command `duetime lint`: output, exit status, and wrong arguments."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import celery
import pytest

from duetime.cli import main as cli
from tests.lint.apps import APP_FILE, TIMEOUT

Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def duetime(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Lint:
    """A function that runs ``duetime`` in this process and returns its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["duetime", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_warnings_exit_1_and_are_printed_under_their_target(duetime: Lint, tmp_path: Path) -> None:
    (tmp_path / "lint_bad.py").write_text(APP_FILE)

    status, out, _ = duetime("lint", "lint_bad.py:app")

    assert status == 1
    assert out.startswith("lint_bad.py:app: ")
    assert f"  warning: {TIMEOUT} = 3600 (Celery's default)\n    then   a task with an ETA" in out
    assert "    shown  scenario long_horizon\n" in out


def test_information_alone_exits_0(duetime: Lint, tmp_path: Path) -> None:
    good = APP_FILE.replace("redis://localhost/1", "amqp://").replace(
        '"shop.charge"', '"shop.charge", autoretry_for=(OSError,), acks_late=True'
    )
    (tmp_path / "lint_good.py").write_text(f"{good}\napp.conf.task_reject_on_worker_lost = True\n")

    status, out, _ = duetime("lint", "lint_good", "--horizon", "0s", "--lateness", "2h")

    assert (status, out.splitlines()[0]) == (0, "lint_good: no warnings; read what is not judged")
    assert "  info: task_acks_late = True\n" in out


def test_an_application_on_sqs_is_checked_without_the_library_of_sqs(duetime: Lint, tmp_path: Path) -> None:
    (tmp_path / "lint_sqs.py").write_text(APP_FILE.replace("redis://localhost/1", "sqs://"))

    status, out, err = duetime("lint", "lint_sqs.py:app", "--grace", "30s", "--consumer-timeout", "0s")

    assert (status, err) == (1, "")
    assert "SQS allows 12h at most" in out
    assert "\n  not judged on this transport: " in out


def test_json_is_one_object(duetime: Lint, tmp_path: Path) -> None:
    (tmp_path / "lint_json.py").write_text(APP_FILE)

    _, out, _ = duetime("lint", "--json", "lint_json:app")
    printed = json.loads(out)

    assert printed["warnings"] == sum(f["level"] == "warning" for f in printed["findings"])
    assert printed["findings"][0]["scenario"] == "long_horizon"
    assert printed["findings"][0]["is_default"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lint_used.py:app", "--horizon", "soon"], "--horizon 'soon': write a number and a unit"),
        (["lint_used.py:app", "--worker", "x3 celery -A shop beat"], "'x3' is not a number of hosts"),
        (["lint_used.py:app", "--python", "nowhere/python"], "'nowhere/python' does not start"),
        (["lint_ends.py"], "ended with status 7 before the linter could answer"),
        (["lint_imports.py"], "run the linter in the project's own environment: --python"),
        (["oban_style_que"], "Did you mean the design 'oban_style_queue'?"),
    ],
)
def test_bad_usage_exits_2_with_one_sentence(duetime: Lint, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "lint_used.py").write_text(APP_FILE)
    (tmp_path / "lint_ends.py").write_text("import os\nos._exit(7)\n")
    (tmp_path / "lint_imports.py").write_text("import no_such_library\n")

    status, out, err = duetime("lint", *arguments)

    assert (status, out) == (2, "")
    assert err.startswith("duetime: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_what_an_application_prints_is_not_part_of_the_json(tmp_path: Path) -> None:
    (tmp_path / "lint_prints.py").write_text(f"print('starting')\n{APP_FILE}")

    command = [sys.executable, "-m", "duetime.cli", "lint", "--json", "lint_prints"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert json.loads(done.stdout)["findings"]
    assert done.stderr == "starting\n"


def test_a_design_is_checked_with_its_own_command_and_the_docs_show_the_output() -> None:
    # A separate process, because a design reads its settings when it is first imported.
    done = subprocess.run(
        [sys.executable, "-m", "duetime.cli", "lint", "oban_style_queue"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (1, "")
    if ".".join(map(str, celery.VERSION[:3])) == "5.7.0":
        page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
        assert f"$ duetime lint oban_style_queue\n{done.stdout}```" in page


def test_a_design_with_a_beat_on_every_host_has_a_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "duetime.cli", "lint", "pull_worker", "--horizon", "0s", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert {"more_servers", "broker_blip_long"} <= {
        finding["scenario"] for finding in json.loads(done.stdout)["findings"]
    }
