"""A scheduler in another process: calls after the commit, answers, failures, and its end with its client."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from duetime.contenders import Contender
from duetime.errors import RefusedAfterCommit, SchedulerProcessFailed
from duetime.interface import Notification
from duetime.scheduler_process import SchedulerProcess
from duetime.settings import Settings
from tests.commands import json_lines
from tests.docs.pages import ROOT
from tests.eventually import assert_eventually

NOTIFICATION = Notification(
    key="reminder:1",
    revision=2,
    kind="k",
    recipient="ä@example.org",
    due_at=datetime(2030, 1, 1, 9, 0, 0, 123456, tzinfo=UTC),
    payload={"text": "two\nlines " + "x" * 60_000},
)
EXAMPLES = dict(
    re.findall(r"```(ruby|javascript|python)\n(.*?)```", (ROOT / "docs" / "scheduling.md").read_text(), re.DOTALL)[1:4]
)
"""The scheduler of each language, as docs/scheduling.md prints it."""
LIBRARIES = {
    "ruby": """
        require "json"
        def record(call) = File.write("calls.jsonl", call.to_json + "\\n", mode: "a")
        def schedule(call) = record(call)
        def cancel(call) = raise("no such job: #{call['key']}")
    """,
    "javascript": """
        import { appendFile } from "node:fs/promises";
        export const schedule = async (call) => appendFile("calls.jsonl", JSON.stringify(call) + "\\n");
        export const cancel = async (call) => { throw new Error(`no such job: ${call.key}`); };
    """,
    "python": """
import json
def schedule(call):
    with open("calls.jsonl", "a") as calls:
        calls.write(json.dumps(call) + "\\n")
def cancel(call):
    raise LookupError(f"no such job: {call['key']}")
""",
}
"""A library of the user's, which the printed scheduler imports."""
COMMANDS = {"ruby": ("ruby", "rb"), "javascript": ("node", "mjs"), "python": ("{python}", "py")}
SCRIPT = """
import json, pathlib, sys, time
print(json.dumps({"ok": True}), flush=True)
for line in sys.stdin:
    %s
"""
Start = Callable[..., SchedulerProcess]


@pytest.fixture
def start(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a command, or a Python process that does for each line what is given."""
    monkeypatch.chdir(tmp_path)
    started: list[SchedulerProcess] = []

    def begin(*command: str, does: str = "", within_s: float = 10.0) -> SchedulerProcess:
        if does:
            (tmp_path / "script.py").write_text(SCRIPT % does)
            command = ("{python}", "{here}/script.py")
        contender = Contender(tmp_path, sys.executable)
        started.append(SchedulerProcess(contender, settings, *command, answer_within_s=within_s))
        return started[-1]

    yield begin
    for process in started:
        process.close()


def schedule(scheduler: SchedulerProcess, engine: Engine) -> None:
    with Session(engine) as session:
        scheduler.schedule(NOTIFICATION, session=session)
        session.commit()


@pytest.mark.parametrize("language", EXAMPLES)
def test_the_printed_scheduler_of_each_language_works(
    language: str, start: Start, engine: Engine, tmp_path: Path
) -> None:
    program, suffix = COMMANDS[language]
    if not program.startswith("{") and not shutil.which(program):
        pytest.skip(f"{program} is not installed; as root apt-get install {program.replace('node', 'nodejs')}")
    (tmp_path / f"client.{suffix}").write_text(EXAMPLES[language])
    (tmp_path / f"library.{suffix}").write_text(LIBRARIES[language])
    scheduler = start(program, f"{{here}}/client.{suffix}")

    with Session(engine) as session:
        scheduler.schedule(NOTIFICATION, session=session)
        assert not (tmp_path / "calls.jsonl").exists()
        session.commit()
    with Session(engine) as session:
        scheduler.cancel("reminder:2", revision=3, session=session)
        with pytest.raises(SchedulerProcessFailed, match=r"answered with an error: .*no such job: reminder:2"):
            session.commit()
    schedule(scheduler, engine)

    assert json_lines(tmp_path / "calls.jsonl") == [{"do": "schedule", **NOTIFICATION.to_json()}] * 2


def test_what_is_rolled_back_is_not_published(start: Start, engine: Engine, tmp_path: Path) -> None:
    scheduler = start(does="pathlib.Path('called').touch(); print(json.dumps({'ok': True}), flush=True)")

    with Session(engine) as session:
        scheduler.schedule(NOTIFICATION, session=session)
        session.rollback()
    assert not (tmp_path / "called").exists()
    schedule(scheduler, engine)
    assert (tmp_path / "called").exists()


def test_a_refusal_is_told_from_an_error(start: Start, engine: Engine) -> None:
    scheduler = start(does="print(json.dumps({'refused': 'too far ahead'}), flush=True)")

    with pytest.raises(RefusedAfterCommit, match="nothing is scheduled: too far ahead"):
        schedule(scheduler, engine)


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("sys.exit(1)", "has ended"),
        ("time.sleep(600)", "did not answer within 0.5 s"),
        ("print('INFO: scheduled', flush=True)", "wrote b'INFO: scheduled.*standard error"),
        ("print(json.dumps({'okay': True}), flush=True)", "neither ok, nor refused, nor error"),
        ("print(json.dumps({'ok': True}), json.dumps({'ok': True}), flush=True)", "instead of an answer"),
    ],
)
def test_no_valid_answer_raises_and_the_next_call_starts_another_process(
    start: Start, engine: Engine, tmp_path: Path, does: str, message: str
) -> None:
    once = f"""if not pathlib.Path("failed").exists():
        pathlib.Path("failed").touch()
        {does}
    else:
        print(json.dumps({{"ok": True}}), flush=True)"""
    scheduler = start(does=once, within_s=0.5)

    with pytest.raises(SchedulerProcessFailed, match=message):
        schedule(scheduler, engine)
    schedule(scheduler, engine)


def test_an_answer_without_a_call_is_not_taken_for_that_of_the_next(start: Start, engine: Engine) -> None:
    answers = "print(json.dumps({'ok': True}), flush=True); print(json.dumps({'ok': True}), flush=True)"
    scheduler = start(does=f"{answers}; pathlib.Path('answered').touch()")
    try:
        schedule(scheduler, engine)
    except SchedulerProcessFailed:
        return  # both lines had arrived by the first call's end
    assert_eventually(lambda: Path("answered").exists())

    with pytest.raises(SchedulerProcessFailed, match="without a call"):
        schedule(scheduler, engine)


@pytest.mark.parametrize(
    ("command", "message"), [("no-such-program", "no-such-program has ended"), ("echo", "instead of an answer")]
)
def test_a_process_that_does_not_begin_with_ok_is_named(start: Start, command: str, message: str) -> None:
    with pytest.raises(SchedulerProcessFailed, match=message):
        start(command)


CLIENT = """
import sys
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from duetime.contenders import Contender
from duetime.scheduler_process import SchedulerProcess
from duetime.settings import Settings
from tests.harness.test_scheduler_process import NOTIFICATION

settings = Settings.from_environment()
scheduler = SchedulerProcess(Contender(Path.cwd(), sys.executable), settings, "{python}", "{here}/script.py")
with Session(create_engine(settings.database_url)) as session:
    scheduler.schedule(NOTIFICATION, session=session)
    session.commit()
"""


def test_a_killed_client_takes_its_scheduler_with_it_in_the_middle_of_a_call(
    tmp_path: Path, settings: Settings
) -> None:
    # It does not read its standard input while it carries a call out, so the end of that stops nothing.
    (tmp_path / "script.py").write_text(
        SCRIPT % "pathlib.Path('begun').touch()\n    while not pathlib.Path('go_on').exists(): time.sleep(0.01)\n"
        "    pathlib.Path('carried_out').touch()"
    )
    environment = {**settings.environment(), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", CLIENT], cwd=tmp_path, env=environment) as client:
        assert_eventually(lambda: (tmp_path / "begun").exists())
        [scheduler] = psutil.Process(client.pid).children()
        client.kill()

    assert_eventually(lambda: not scheduler.is_running() or scheduler.status() == psutil.STATUS_ZOMBIE, within_s=5)
    (tmp_path / "go_on").touch()
    assert not (tmp_path / "carried_out").exists()


def test_a_client_that_ends_takes_its_scheduler_with_it(tmp_path: Path, settings: Settings) -> None:
    answer = "print(json.dumps({'ok': True}), flush=True)"
    # It goes on when its standard input closes.
    (tmp_path / "script.py").write_text(SCRIPT % answer + "pathlib.Path('closed').touch()\ntime.sleep(600)\n")
    environment = {**settings.environment(), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}

    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=tmp_path, env=environment, check=False)

    assert done.returncode == 0
    assert_eventually(lambda: processes_with(str(tmp_path / "script.py")) == [], within_s=5)


def processes_with(argument: str) -> list[int]:
    found = psutil.process_iter(["cmdline"])
    return [process.pid for process in found if argument in (process.info["cmdline"] or ())]
