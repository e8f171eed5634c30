"""`duetime conform`: its output and its exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from duetime.cli.conform import conform_command
from duetime.conformance import PROMISES
from duetime.errors import BadUsage
from duetime.harness.plan import catalogue
from duetime.pages import DOCS
from tests.commands import duetime
from tests.docs.pages import ROOT

pytestmark = pytest.mark.processes

SMALL = str(ROOT / "tests" / "designs" / "small_scheduler.py")


def test_each_promise_has_a_line_and_a_broken_one_its_evidence_and_what_to_read() -> None:
    done = duetime("conform", f"{SMALL}:stores_at_once", "--scenarios", "none")

    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(
        "stores_at_once: a row for each notification, and no worker that delivers it\n\nPromises"
    )
    for promise in PROMISES:
        assert re.search(rf"^  (kept  |BROKEN)        {re.escape(promise.name)}$", done.stdout, flags=re.MULTILINE)
    assert (
        "  BROKEN        it is not pending before the commit\n"
        "                after schedule a/1: pending() has a/1 instead of nothing\n"
        "                read https://github.com/duetime/duetime/blob/main/docs/contract.md#for-a-design\n"
    ) in done.stdout
    assert re.search(rf"\n\n{len(PROMISES)} promises: \d+ kept, \d+ BROKEN\.\n$", done.stdout)


def test_a_design_that_keeps_every_promise_exits_with_0_and_json_is_one_value() -> None:
    done = duetime("conform", f"{SMALL}:design", "--scenarios", "none", "--json")

    written = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [(each["promise"], each["state"]) for each in written["promises"]] == [(it.name, "kept") for it in PROMISES]
    assert written["cells"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_design"], "no design named 'no_such_design'"),
        ([f"{SMALL}:design", "--scenarios", "clam"], "Did you mean 'calm'"),
        (["contender:rq"], "contender:rq runs in an environment of its own; write duetime compare"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_started(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duetime.cli.options.missing", lambda _contender: "")  # RQ may not be installed here

    with pytest.raises(BadUsage, match=message):
        conform_command.main([*arguments, "--out", str(tmp_path)], standalone_mode=False)

    assert list(tmp_path.iterdir()) == []


def test_what_to_read_exists() -> None:
    for promise in PROMISES:
        page, _, anchor = promise.read.partition("#")
        text = (ROOT / "docs" / page.removeprefix(f"{DOCS}/")).read_text()
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        assert anchor in [heading.lower().replace(" ", "-") for heading in headings], promise.read


def test_the_help_names_the_scenarios_that_are_run() -> None:
    [option] = [each for each in conform_command.params if each.name == "scenario_names"]

    assert option.to_info_dict()["help"].endswith(f"Default: {', '.join(each.name for each in catalogue.CONFORMANCE)}.")
