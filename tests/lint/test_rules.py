"""Each rule fires on the setting it is about, and is silent on an application that has it right."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import celery
import pytest
from celery import Celery

from duetime.cli import main as cli
from duetime.errors import BadUsage
from duetime.harness.plan import lookup
from duetime.lint import Finding, Scenario, Target, duration, lint, load, parse

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GOOD_COMMAND = "celery -A shop worker -c 4 --statedb=/var/lib/shop/%n.state"
FILE_OF_AN_APP = """
from celery import Celery

app = Celery("shop", broker="redis://localhost/1")


@app.task(name="shop.charge", shared=False)
def charge():
    pass
"""


@pytest.fixture(autouse=True)
def another_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed version is one of the rules; the other tests are not about it."""
    monkeypatch.setattr(celery, "__version__", "5.7.1")


def good_app(**changes: Any) -> Celery:
    """An application of which no rule has anything bad to say, at a horizon of an hour and a lateness of a day."""
    app = Celery("shop", broker="redis://localhost:6379/0", set_as_current=False)
    app.conf.update(
        broker_transport_options={"visibility_timeout": 7200},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        beat_schedule={"sweep": {"task": "shop.charge", "schedule": 60.0, "options": {"expires": 60}}},
    )
    app.conf.update(changes)

    @app.task(name="shop.charge", shared=False, autoretry_for=(OSError,))  # type: ignore[untyped-decorator]  # celery-types
    def charge() -> None: ...

    return app


def do_nothing() -> None:
    """A task with nothing to say for itself."""


def findings(
    app: Celery,
    *commands: str,
    horizon: timedelta = HOUR,
    lateness: timedelta = DAY,
    servers: int = 2,
) -> list[Finding]:
    target = Target(name="shop:app", app=app, commands=[parse(line) for line in commands or [GOOD_COMMAND]])
    return lint([target], horizon=horizon, lateness=lateness, servers=servers)


def warned(*args: Any, **asked: Any) -> list[tuple[str, str]]:
    return [(f.setting, f.scenario) for f in findings(*args, **asked) if f.level == "warning"]


TIMEOUT = "broker_transport_options['visibility_timeout']"


def test_a_good_application_is_warned_of_nothing() -> None:
    assert warned(good_app()) == []


def test_every_finding_says_what_follows_and_what_to_do() -> None:
    bad = Celery("bad", broker="redis://localhost", set_as_current=False)
    bad.task(name="bad.send", shared=False)(do_nothing)
    bad.conf.beat_schedule = {"send": {"task": "bad.send", "schedule": 1.0}}

    found = findings(bad, "celery -A bad worker -B", horizon=30 * DAY, lateness=HOUR)

    assert {f.scenario for f in found} == {
        *("long_horizon", "crash", "move_and_cancel", "more_servers", "far_flood", "poison", "broker_blip_long")
    }
    for finding in found:
        assert finding.consequence.endswith(".")
        assert finding.fix.endswith(".")


def test_a_visibility_timeout_below_the_horizon_is_said_to_repeat() -> None:
    app = good_app(broker_transport_options={})

    [finding] = [f for f in findings(app, horizon=3 * HOUR) if f.scenario == "long_horizon"]

    assert (finding.setting, finding.value, finding.is_default) == (TIMEOUT, "3600", True)
    assert "up to 3 copies" in finding.consequence
    assert warned(app, horizon=timedelta(minutes=59)) == []


def test_a_visibility_timeout_with_its_sweep_above_the_lateness_is_said_to_delay() -> None:
    assert warned(good_app(), lateness=timedelta(hours=2)) == [(TIMEOUT, "crash")]
    assert warned(good_app(), lateness=timedelta(hours=2, seconds=100)) == []

    quick = {"visibility_timeout": 7200, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    assert warned(good_app(broker_transport_options=quick), lateness=timedelta(hours=2, seconds=1)) == []


def test_a_horizon_beyond_the_lateness_is_said_to_have_no_right_timeout() -> None:
    both = [f for f in findings(good_app(), horizon=DAY, lateness=HOUR) if f.setting == TIMEOUT]

    assert [f.scenario for f in both] == ["long_horizon", "crash"]
    assert all("No one value is right" in f.consequence for f in both)


def test_other_transports_have_no_visibility_timeout() -> None:
    app = good_app(broker_url="memory://")

    assert TIMEOUT not in dict(warned(app, horizon=DAY, lateness=timedelta(seconds=1)))


def test_a_timeout_that_is_no_number_is_bad_usage() -> None:
    with pytest.raises(BadUsage, match="'visibility_timeout'\\] is 'soon'; write a number of seconds"):
        findings(good_app(broker_transport_options={"visibility_timeout": "soon"}))


def test_revokes_older_than_their_expiry_are_said_to_be_dropped() -> None:
    far = {"broker_transport_options": {"visibility_timeout": 20000}}

    assert warned(good_app(**far), horizon=timedelta(seconds=10801)) == [
        ("CELERY_WORKER_REVOKE_EXPIRES (environment)", "move_and_cancel")
    ]
    assert warned(good_app(**far), horizon=timedelta(seconds=10800)) == []


def test_a_worker_without_a_state_file_is_said_to_forget_revokes() -> None:
    forgets = [("worker_state_db", "move_and_cancel")]

    assert warned(good_app(), "celery -A shop worker") == forgets
    assert warned(good_app(), "celery -A shop worker -S /state") == []
    assert warned(good_app(worker_state_db="/state"), "celery -A shop worker") == []
    assert warned(good_app(), "celery -A shop worker", horizon=timedelta(0)) == []
    [finding] = [f for f in findings(good_app(), "celery -A shop worker --without-mingle") if f.level == "warning"]
    assert "at any restart" in finding.consequence


def test_a_beat_in_each_of_several_workers_is_said_to_repeat() -> None:
    beat = f"{GOOD_COMMAND} -Bl INFO"

    assert warned(good_app(), beat, servers=3) == [("-B", "more_servers")]
    assert warned(good_app(), beat, servers=1) == []
    assert warned(good_app(), GOOD_COMMAND, "celery -A shop beat", servers=2) == [("celery beat", "more_servers")]
    assert warned(good_app(beat_schedule={}), beat) == []
    assert warned(good_app(), f"{beat} --scheduler redbeat.RedBeatScheduler") == []


def test_the_lowest_timeout_on_one_redis_is_said_to_win() -> None:
    def apps(other: Celery) -> list[tuple[str, str]]:
        targets = [Target(name="shop:app", app=good_app()), Target(name="mail:app", app=other)]
        found = lint(targets, horizon=timedelta(0), lateness=DAY)
        return [(f.target, f.consequence[:8]) for f in found if f.scenario == "long_horizon"]

    low = {"visibility_timeout": 60}
    assert apps(good_app(broker_transport_options=low)) == [("shop:app", "mail:app")]
    assert apps(good_app(broker_transport_options=low, broker_url="redis://localhost")) == [("shop:app", "mail:app")]
    assert apps(good_app()) == []
    assert apps(good_app(broker_transport_options=low, broker_url="redis://localhost:6379/1")) == []
    assert apps(good_app(broker_transport_options={**low, "global_keyprefix": "mail"})) == []


def test_a_limit_on_eta_tasks_is_said_to_starve_and_none_to_use_memory() -> None:
    limit = [("worker_eta_task_limit", "far_flood")]

    assert warned(good_app(worker_eta_task_limit=100)) == limit
    assert warned(good_app(worker_eta_task_limit=100), horizon=timedelta(0)) == []
    assert [(f.level, f.setting) for f in findings(good_app()) if f.scenario == "far_flood"] == [
        ("info", "worker_eta_task_limit")
    ]


def test_early_acknowledgement_is_said_to_lose() -> None:
    assert warned(good_app(task_acks_late=False)) == [("task_acks_late", "crash")]


def test_late_acknowledgement_is_said_to_repeat_and_alone_to_lose_what_a_killed_child_ran() -> None:
    lost = [("task_reject_on_worker_lost", "crash")]

    assert warned(good_app(task_reject_on_worker_lost=None)) == lost
    assert [f.level for f in findings(good_app()) if f.scenario == "crash"] == ["info"]


@pytest.mark.skipif(not hasattr(celery.Task, "retry_on_worker_lost"), reason="came with Celery 5.7")
def test_a_retry_of_what_a_killed_child_ran_is_as_good_as_a_rejection() -> None:
    assert warned(good_app(task_reject_on_worker_lost=None, task_retry_on_worker_lost=True)) == []


def test_what_a_task_and_an_annotation_say_counts_more_than_the_setting() -> None:
    app = good_app(task_annotations={"shop.charge": {"acks_late": False}})
    [finding] = [f for f in findings(app) if f.level == "warning"]

    assert (finding.setting, finding.value, finding.is_default) == ("task_acks_late", "False", False)
    assert finding.consequence.startswith("shop.charge: ")


def test_a_task_that_nothing_repeats_is_said_to_lose_what_is_refused_once() -> None:
    app = good_app()
    app.task(name="shop.mail", shared=False)(do_nothing)

    [finding] = [f for f in findings(app) if f.scenario == "poison"]

    assert finding.consequence.startswith("shop.mail: ")


def test_a_task_that_calls_retry_itself_is_not_accused() -> None:
    app = good_app()

    @app.task(name="shop.mail", shared=False, bind=True)  # type: ignore[untyped-decorator]  # celery-types
    def mail(self: Any) -> None:
        raise self.retry()

    assert warned(app) == []


def test_a_task_is_told_of_once_though_celery_shares_it_among_all_applications() -> None:
    shop, mail = good_app(), good_app()
    shop.task(name="shop.mail", shared=False)(do_nothing)
    mail.task(name="shop.mail", shared=False)(do_nothing)
    targets = [Target(name="shop:app", app=shop), Target(name="mail:app", app=mail)]

    found = lint(targets, horizon=timedelta(0), lateness=DAY)

    assert [(f.target, f.scenario) for f in found if "shop.mail" in f.consequence and f.level == "warning"] == [
        ("shop:app", "poison")
    ]


def test_an_application_without_tasks_holds_nothing_that_could_be_lost() -> None:
    app = Celery("empty", broker="redis://localhost", set_as_current=False)

    found = findings(app, "celery -A empty worker", horizon=30 * DAY, lateness=timedelta(0))

    assert [(f.level, f.setting, f.scenario) for f in found] == [("info", "tasks", None)]


def test_a_beat_entry_without_expiry_is_said_to_pile_up() -> None:
    entry = {"task": "shop.charge", "schedule": 60.0}
    piling = good_app(beat_schedule={"sweep": entry})

    assert warned(piling) == [("beat_schedule[…]['options']['expires']", "broker_blip_long")]

    piling.tasks["shop.charge"].expires = 60
    assert warned(piling) == []


@pytest.mark.parametrize("setting", ["broker_connection_retry", "broker_connection_retry_on_startup"])
def test_a_worker_that_may_not_reconnect_is_said_to_shut_down(setting: str) -> None:
    assert warned(good_app(**{setting: False})) == [(setting, "broker_blip_long")]
    assert warned(good_app(**{setting: True})) == []


def test_one_version_of_celery_is_said_to_exit_without_its_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "__version__", "5.7.0")

    assert warned(good_app()) == [("celery.__version__", "broker_blip_long")]
    assert warned(good_app(broker_url="memory://")) == []


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90), ("10m", 600), ("48h", 172800), ("14d", 1209600), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, length: float) -> None:
    assert duration("--horizon", text) == timedelta(seconds=length)


@pytest.mark.parametrize("text", ["", "soon", "-1d", "10", "5w", "1e9d", "٣d", f"{10**10}d", "9" * 400 + "d"])
def test_a_duration_that_cannot_be_understood_is_named(text: str) -> None:
    with pytest.raises(BadUsage, match=r"^--horizon "):
        duration("--horizon", text)


@pytest.mark.parametrize(
    "line",
    [
        "celery -A worker worker --beat -S state --without-mingle",
        "python -m celery --app=worker worker -l INFO -Bc 4 -Sstate --without-mingle --of-a-plugin",
        "/srv/venv/bin/celery -q -A worker worker -P threads --without-mingle --statedb state -B",
    ],
)
def test_a_worker_command_is_read_as_celery_reads_it(line: str) -> None:
    command = parse(line)

    assert (command.app, command.beat, command.statedb, command.mingles) == ("worker", True, "state", False)


@pytest.mark.parametrize("line", ["", "python worker.py", "celery", "celery -A shop flower", "celery -A", "celery 'a"])
def test_what_is_no_worker_command_is_named(line: str) -> None:
    with pytest.raises(BadUsage, match="is not the command of a worker"):
        parse(line)


def test_a_command_belongs_to_the_target_that_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lintshop", "lintmail"):
        (tmp_path / f"{name}.py").write_text(FILE_OF_AN_APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    shop, mail = load(["lintshop:app", "lintmail:app"], [parse("celery -A lintshop worker")])

    assert ([c.app for c in shop.commands], list(mail.commands)) == (["lintshop"], [])
    with pytest.raises(BadUsage, match="starts 'other', which is none of lintshop:app"):
        load(["lintshop:app"], [parse("celery -A other worker")])


Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def duetime(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Lint:
    """Runs ``duetime`` in this process: its exit status, what it printed, and what it complained of."""
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
    (tmp_path / "lint_bad.py").write_text(FILE_OF_AN_APP)

    status, out, _ = duetime("lint", "lint_bad.py:app")

    assert status == 1
    assert out.startswith("lint_bad.py:app: 6 warnings\n")
    assert f"  warning: {TIMEOUT} = 3600 (Celery's default)\n    then   a task with an ETA" in out
    assert "    shown  scenario long_horizon\n" in out


def test_information_alone_exits_0(duetime: Lint, tmp_path: Path) -> None:
    good = FILE_OF_AN_APP.replace('"shop.charge"', '"shop.charge", autoretry_for=(OSError,), acks_late=True')
    (tmp_path / "lint_good.py").write_text(f"{good}\napp.conf.task_reject_on_worker_lost = True\n")

    status, out, _ = duetime("lint", "lint_good:app", "--horizon", "0s", "--lateness", "2h")

    assert (status, out.splitlines()[0]) == (0, "lint_good:app: no warnings")
    assert "  info: task_acks_late = True\n" in out


def test_json_is_one_object(duetime: Lint, tmp_path: Path) -> None:
    (tmp_path / "lint_json.py").write_text(FILE_OF_AN_APP)

    _, out, _ = duetime("lint", "--json", "lint_json:app")
    printed = json.loads(out)

    assert printed["warnings"] == 6
    assert printed["findings"][0]["scenario"] == "long_horizon"
    assert printed["findings"][0]["is_default"] is True


@pytest.mark.parametrize(
    ("content", "arguments", "complaint"),
    [
        ("", ["lint_used"], "is neither a registered design"),
        ("", ["no_such_module_here:app"], "does not import: ModuleNotFoundError"),
        ("", ["nowhere.py:app"], "there is no file 'nowhere.py'"),
        ("", ["lint_used.py:app"], "has no 'app'"),
        ("app = 7", ["lint_used.py:app"], "is a int, not a celery.Celery"),
        ("raise SystemExit(0)", ["lint_used.py:app"], "does not import: SystemExit"),
        ("def broken(:", ["lint_used.py:app"], "does not import: SyntaxError"),
        (
            "from celery import Celery\napp = Celery(broker='carrier-pigeon://coop')",
            ["lint_used.py:app"],
            "cannot be loaded: KeyError: 'No such transport: carrier-pigeon",
        ),
        (
            "from celery import Celery\napp = Celery(include=['no_such_tasks'])",
            ["lint_used.py:app"],
            "cannot be loaded: ModuleNotFoundError",
        ),
        (FILE_OF_AN_APP, ["lint_used.py:app", "--horizon", "soon"], "--horizon 'soon': write a number and a unit"),
        (FILE_OF_AN_APP, ["lint_used.py:app", "--worker", "top"], "it does not call celery"),
        (FILE_OF_AN_APP, ["lint_used.py:app", "lint_used.py:app"], "name each target once"),
        ("", ["reference"], "the design 'reference' runs no Celery worker"),
    ],
)
def test_bad_usage_exits_2_with_one_sentence(
    duetime: Lint, tmp_path: Path, content: str, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "lint_used.py").write_text(content)

    status, out, err = duetime("lint", *arguments)

    assert (status, out) == (2, "")
    assert err.startswith("duetime: ")
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_a_design_is_read_under_its_own_command_and_the_docs_show_what_is_said(tmp_path: Path) -> None:
    # A process of its own: a design keeps the settings that it was first imported with.
    ran = subprocess.run(
        [sys.executable, "-m", "duetime.cli", "lint", "oban_style_queue"], capture_output=True, text=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (1, "")
    if ".".join(map(str, celery.VERSION[:3])) == "5.7.0":
        page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
        assert f"$ duetime lint oban_style_queue\n{ran.stdout}```" in page


def test_a_design_with_a_beat_on_every_server_is_told_so() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "duetime.cli", "lint", "pull_worker", "--horizon", "0s", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert {"more_servers", "broker_blip_long"} <= {
        finding["scenario"] for finding in json.loads(ran.stdout)["findings"]
    }


def test_every_scenario_that_a_finding_points_to_is_there() -> None:
    assert set(get_args(Scenario)) <= set(lookup.names())
