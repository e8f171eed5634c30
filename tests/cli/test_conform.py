"""`duetime conform`: its output and its exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from duetime.cli.conform import conform_command
from duetime.conformance import PROMISES
from duetime.harness.plan import catalogue
from tests.commands import duetime
from tests.docs.pages import ROOT

pytestmark = pytest.mark.processes

SMALL = str(ROOT / "tests" / "designs" / "small_scheduler.py")


def test_a_design_that_keeps_every_promise_exits_with_0() -> None:
    done = duetime("conform", f"{SMALL}:design", "--scenarios", "none")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("small: a row for each notification, and no worker that delivers it\n\nPromises")
    assert [f"  kept          {promise.name}" for promise in PROMISES] == done.stdout.splitlines()[3:-2]
    assert done.stdout.endswith(f"\n\n{len(PROMISES)} promises: {len(PROMISES)} kept.\n")


def test_a_broken_promise_is_shown_with_its_evidence_and_exits_with_1() -> None:
    done = duetime("conform", f"{SMALL}:stores_at_once", "--scenarios", "none")

    assert done.returncode == 1, done.stderr
    assert (
        "  BROKEN        it is not pending before the commit\n"
        "                after schedule a/1: pending() has a/1 instead of nothing\n"
        "                read docs/contract.md#for-a-design\n"
    ) in done.stdout


def test_json_is_one_value() -> None:
    done = duetime("conform", f"{SMALL}:stores_at_once", "--scenarios", "none", "--json")

    written = json.loads(done.stdout)
    assert done.returncode == 1
    assert [each["promise"] for each in written["promises"]] == [promise.name for promise in PROMISES]
    assert {"state": "BROKEN", "read": "docs/contract.md#for-a-design"}.items() <= written["promises"][2].items()
    assert written["cells"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_design"], "no design named 'no_such_design'"),
        ([f"{SMALL}:design", "--scenarios", "clam"], "Did you mean 'calm'"),
        ([f"{SMALL}:cannot_start"], r"small_scheduler.py:cannot_start: install\(\) raised PermissionError: no CREATE"),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = duetime("conform", *arguments, "--out", str(tmp_path))

    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_to_read_exists() -> None:
    for promise in PROMISES:
        page, _, anchor = promise.read.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
        assert anchor in [heading.lower().replace(" ", "-") for heading in headings], promise.read


def test_the_help_names_the_scenarios_that_are_run() -> None:
    [option] = [each for each in conform_command.params if each.name == "scenario_names"]

    assert option.to_info_dict()["help"].endswith(f"Default: {', '.join(each.name for each in catalogue.CONFORMANCE)}.")
