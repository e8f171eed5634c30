"""Each rule about a library fires where it should, is silent where it should be, and names a run that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from duetime import contenders, registry
from duetime.cli.main import cli
from duetime.harness.plan.lookup import named, slowed
from duetime.harness.runs.applicability import too_short_for_recovery
from duetime.lint.libraries.catalogue import LIBRARIES
from duetime.lint.libraries.declaration import Found, Library, Rule, Run
from duetime.lint.libraries.judge import judge
from duetime.lint.text import lines
from tests.lint.library_rules import ALSO_WRONG, PATIENT, STRICT, TUNED, findings, wrong_settings

ROOT = Path(__file__).parents[2]
ALL_LIBRARIES = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
ALL_RULES = pytest.mark.parametrize(
    ("library", "rule"),
    [
        pytest.param(library, rule, id=f"{name}-{rule.setting}")
        for name, library in LIBRARIES.items()
        for rule in library.rules
    ],
)
AT_THE_DEFAULTS = {
    "arq": {"job_timeout", "raises_retry", "job_completion_wait"},
    "bullmq": {"attempts", "stalledInterval"},
    "dramatiq": {"maintenance_chance", "abortable"},
    "huey": {"retries", "graceful_signal"},
    "oban": {"stager_interval", "rescue_after"},
    "pgqueuer": {"on_failure"},  # its jobs come back within a minute, the tolerable lateness
    "procrastinate": {"fetch_job_polling_interval", "get_stalled_jobs", "retry"},
    "rq": {"with_scheduler", "maintenance_interval", "worker_ttl", "retry"},
    "saq": {"retries", "shutdown_grace_period_s"},
    "sidekiq": {"poll_interval_average"},
    "taskiq": {"update_interval", "idle_timeout", "retry_on_error", "pre_send"},
}


@ALL_LIBRARIES
def test_the_defaults_have_the_findings_that_the_contender_shows(library: Library) -> None:
    assert wrong_settings(library.name, library.defaults()) == AT_THE_DEFAULTS[library.name]


@ALL_LIBRARIES
def test_the_settings_of_the_tuned_contender_have_no_finding(library: Library) -> None:
    assert set(TUNED[library.name]) == set(library.by_name)
    assert wrong_settings(library.name, TUNED[library.name]) == set()


@ALL_RULES
def test_a_rule_fires_on_a_wrong_value_and_only_then(library: Library, rule: Rule) -> None:
    wrong = {**library.defaults(), **ALSO_WRONG.get((library.name, rule.setting), {})}

    assert rule.setting in wrong_settings(library.name, wrong, STRICT)
    assert rule.setting not in wrong_settings(library.name, TUNED[library.name])
    if rule.effect == "delays" and rule.setting != "with_scheduler":
        assert rule.setting not in wrong_settings(library.name, wrong, PATIENT)


@ALL_RULES
def test_a_rule_is_not_judged_while_its_values_are_not_known(library: Library, rule: Rule) -> None:
    found = judge(library, Found(), {}, STRICT, target="shop")

    assert [finding.level for finding in found] == ["not judged"]
    assert rule.setting in library.by_name
    assert "Write --set NAME=VALUE" in found[0].consequence


@ALL_RULES
def test_a_sentence_of_a_rule_has_no_hole_and_no_brace(library: Library, rule: Rule) -> None:
    wrong = {**library.defaults(), **ALSO_WRONG.get((library.name, rule.setting), {})}

    finding = next(f for f in findings(library.name, wrong, STRICT) if f.setting == rule.setting)

    for sentence in (finding.consequence, finding.fix):
        assert not re.search(r"\{\{|\}\}|None", sentence)
        assert sentence.endswith(".")


@ALL_RULES
def test_the_run_of_a_rule_is_a_command_that_can_show_it(library: Library, rule: Rule) -> None:
    program, command, *arguments = rule.run.command

    if isinstance(rule.run, Run):
        cli.commands[command].make_context(command, list(arguments))  # raises on a wrong option
        assert (program, rule.run.design.split(":")[1].startswith(library.name)) == ("duetime", True)
        assert too_short(rule.run, rule.run.slow) == []
    else:
        tests = re.findall(r"def (test_\w+)", (ROOT / "tests" / "designs" / rule.run.file).read_text())
        assert [rule.run.keyword in test for test in tests].count(True) == 1


@ALL_RULES
def test_a_run_is_not_longer_than_it_has_to_be(library: Library, rule: Rule) -> None:
    if isinstance(rule.run, Run) and rule.run.slow > 1 and rule.run.scenario == "crash_before":
        assert too_short(rule.run, rule.run.slow - 1) != []


def too_short(run: Run, slow: int) -> list[str]:
    """Return why a run that is `slow` times as long cannot show what becomes of a dead worker's jobs."""
    plan = slowed(named(run.scenario), slow).plan(1)
    return list(too_short_for_recovery(plan, registry.load(run.design)))


@ALL_LIBRARIES
def test_the_rules_are_about_the_version_that_the_contender_pins(library: Library) -> None:
    folder = contenders.folder(library.name)

    if library.name == "bullmq":
        pinned = json.loads((folder / "package.json").read_text())["dependencies"]["bullmq"]
    elif library.name == "sidekiq":
        (pinned,) = re.findall(r"`ruby-sidekiq`, ([\d.]+);", (folder / "README.md").read_text())
    else:
        text = (folder / "requirements.txt").read_text()
        (pinned,) = re.findall(rf"^{library.name}(?:\[\w+\])?==(\S+)$", text, flags=re.MULTILINE)
    assert library.version == pinned


@ALL_LIBRARIES
def test_the_page_has_every_rule(library: Library) -> None:
    page = (ROOT / "docs" / "settings-of-libraries.md").read_text()

    for rule in library.rules:
        default = library.by_name[rule.setting].default
        command = f"`{' '.join(rule.run.command)}`"
        assert f"| `{rule.setting}` ({default}) | {rule.effect} | {command} |" in page


def test_tasks_with_the_same_value_are_one_finding_with_their_names() -> None:
    found = findings("huey", {}, a={"retries": 0}, b={"retries": 3}, c={"retries": 0})

    assert [finding.consequence.partition(":")[0] for finding in found] == ["a, c"]


@ALL_LIBRARIES
def test_the_text_fits_a_narrow_terminal(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", "80")
    found = judge(library, Found(values=library.defaults()), {}, STRICT, target=library.name)

    text = list(lines([library.name], found))

    # Neither a command nor an address is broken, so that it can be copied.
    assert [line for line in text if len(line) > 80 and not line.startswith(("    shown", "    see "))] == []
    assert max(map(len, text)) > 70


def test_a_value_of_another_kind_is_not_judged() -> None:
    assert wrong_settings("bullmq", {"attempts": "1", "lockDuration": None, "stalledInterval": True}) == set()


def test_an_object_of_a_subclass_is_read_as_one_of_its_class() -> None:
    def made(name: str, **attributes: object) -> object:
        return type(f"Shop{name}", (type(name, (), attributes),), {})()

    app = made(
        "App",
        periodic_registry=SimpleNamespace(periodic_tasks={}),
        perform_import_paths=lambda _app: None,
        tasks={},
        worker_defaults={"fetch_job_polling_interval": 2},
    )
    broker = SimpleNamespace(actors={}, middleware=[made("Abortable", abort_ttl=5)])

    assert values_of("procrastinate", app)["fetch_job_polling_interval"] == 2
    assert values_of("saq", {"queue": made("PostgresQueue")})["store"] == "postgres"
    assert values_of("saq", {"queue": made("RedisQueue")})["store"] == "redis"
    assert values_of("dramatiq", broker)["abort_ttl"] == 5


def values_of(name: str, thing: object) -> Mapping[str, object]:
    read = LIBRARIES[name].read
    found = read(thing) if read else None
    assert found is not None
    return found.values


@ALL_LIBRARIES
def test_a_sentence_has_no_double_space_and_calls_a_duplicate_by_its_name(library: Library) -> None:
    text = [library.fixed, *(sentence for rule in library.rules for sentence in (rule.consequence, rule.fix))]

    assert [sentence for sentence in text if re.search(r"  |executed twice|stands? still", sentence)] == []
