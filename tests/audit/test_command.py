"""``duetime audit``: exit status, text, JSON, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from duetime.cli.audit import audit_command
from duetime.errors import BadUsage
from tests.audit.small import DELIVERED_COLUMNS, PROMISED_COLUMNS, at, promise, write
from tests.browser import AssertAccessible, OpenPage
from tests.cli import base_install


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    promises = [promise(f"k{number}", due=600 * number, accepted=-60) for number in range(1, 40)]
    promises += [promise("<b>gone</b>", due=7000), promise("off", due=8000, cancelled=100)]
    deliveries = [[f"k{number}", 1, at(600 * number + number % 7)] for number in range(1, 40)]
    deliveries += [["off", 1, at(8000)]]
    return [
        "--promised",
        str(write(tmp_path / "promised.csv", PROMISED_COLUMNS, promises)),
        "--delivered",
        str(write(tmp_path / "delivered.csv", DELIVERED_COLUMNS, deliveries)),
    ]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(audit_command, arguments)


def test_the_conclusion_comes_first_and_bars_show_lateness(files: list[str]) -> None:
    done = run(*files)

    assert done.exit_code == 1
    assert done.output.startswith("fail: 1 missed of 39 owed, 1 phantom of 40 deliveries\n")
    assert re.search(r"2026-03-10 13:00 +█+\S* 6 s of 6, 1 missed\n", done.output)
    assert "missed: 1 of 39 owed, the earliest:\n  <b>gone</b> revision 1: Accepted" in done.output
    assert max(map(len, done.output.splitlines())) <= 100


def test_json_has_counts_with_denominators(files: list[str]) -> None:
    done = run(*files, "--json")
    report = json.loads(done.output)

    assert (done.exit_code, report["outcome"]) == (1, "fail")
    assert report["violations"] == {"missed": 1, "phantom": 1, "stale": 0, "duplicate": 0, "early": 0, "late": 0}
    assert report["promises"]["owed"] == report["promises"]["owed_delivered"] + 1 == 39
    assert report["examples"]["phantom"][0]["evidence"] == ["promised.csv:42", "delivered.csv:41"]
    assert sum(hour["delivered"] for hour in report["hours"]) == 40


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--outage", "2026-03-10T12:00Z"], "--outage '2026-03-10T12:00Z': write FROM/TO"),
        (["--outage", "2026-03-10T12:00Z/2026-03-10T11:00Z"], "its end is not after its beginning"),
        (["--from", "noon"], "--from 'noon' is no time"),
        (["--from", "2026-03-10T12:00Z", "--to", "2026-03-10T11:00Z"], "the end is not after the beginning"),
        (["--to", "2200-01-01T00:00Z"], "--to 2200-01-01T00:00Z: that is in the future"),
        (["--lateness", "60"], "--lateness '60': write a number and a unit"),
        (["--salt", "x"], "--salt is of use only with --hash-keys"),
    ],
)
def test_bad_options_are_refused_with_the_fix(arguments: list[str], says: str, files: list[str]) -> None:
    done = run(*files, *arguments)

    assert isinstance(done.exception, BadUsage)
    assert says in str(done.exception)


def test_deliveries_of_the_future_are_refused_and_are_no_pass(tmp_path: Path) -> None:
    far = 10 * 365 * 86_400
    promised = write(tmp_path / "promised.csv", PROMISED_COLUMNS, [promise("a", due=far, accepted=-60)])
    delivered = write(tmp_path / "delivered.csv", DELIVERED_COLUMNS, [["a", 1, at(far)]])

    done = run("--promised", str(promised), "--delivered", str(delivered))

    assert isinstance(done.exception, BadUsage)
    assert "the last delivery of delivered.csv is at 203" in str(done.exception)


def test_a_salt_repeats_the_hashes(files: list[str]) -> None:
    once, twice = (json.loads(run(*files, "--json", "--hash-keys", "--salt", "s").output) for _ in range(2))
    other = json.loads(run(*files, "--json", "--hash-keys").output)

    assert once == twice
    assert other["violations"] == once["violations"]
    assert other["examples"]["missed"][0]["key"] != once["examples"]["missed"][0]["key"]


def test_a_page_that_cannot_be_written_does_not_change_the_verdict(files: list[str], tmp_path: Path) -> None:
    done = run(*files, "--html", str(tmp_path / "none" / "a.html"))

    assert done.exit_code == 1
    assert "cannot write" in done.output


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_escapes_keys(
    files: list[str], tmp_path: Path, width: int, open_page: OpenPage, assert_accessible: AssertAccessible
) -> None:
    page = tmp_path / "audit.html"
    run(*files, "--html", str(page), "--outage", "2026-03-10T13:00Z/2026-03-10T14:00Z")

    opened = open_page(page.as_uri(), width=width)

    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert opened.locator("h1").inner_text().startswith("fail 1 missed of 39 owed")
    assert opened.get_by_text("<b>gone</b> revision 1").count() == 1
    assert opened.locator("svg .missed").count() == 1
    assert opened.locator("svg .outage").count() == 1
    assert_accessible(opened)


def test_the_base_installation_is_enough(files: list[str], tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    base_install.link_base(base)

    done = base_install.python(base, "-m", "duetime.cli", "audit", *files, "--json", cwd=tmp_path)

    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["violations"]["missed"] == 1
