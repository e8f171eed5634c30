"""The demo as its user has it: the command, the page, real processes, and what is saved of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from playwright.sync_api import Browser, Page

from duetime.harness.plan.plan import Plan
from tests.commands import duetime

pytestmark = pytest.mark.browser

STARTS_WITHIN_S = 60
CERTAIN_WITHIN_MS = 60_000


@dataclass(frozen=True)
class Demo:
    url: str
    flower: str
    process: subprocess.Popen[str]
    out: Path

    @property
    def address(self) -> str:
        return self.url.split("/")[2]

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        with closing(HTTPConnection(self.address, timeout=60)) as connection:
            connection.request("POST", path, json.dumps(body), {"Origin": f"http://{self.address}", **headers})
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else {"text": text}


@contextmanager
def running(out: Path, *arguments: str) -> Iterator[Demo]:
    command = [
        sys.executable,
        "-m",
        "duetime.cli",
        "demo",
        "--no-browser",
        "--port",
        "0",
        "--out",
        str(out),
        *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        urls = re.findall(r"http://\S+", "".join(lines))
        try:
            yield Demo(urls[0], urls[1], process, out)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("saved")) as demo:
        yield demo


@pytest.fixture
def live(demo: Demo, visit: Callable[..., Page]) -> Page:
    """The page, connected, with everything up and nothing going on by itself."""
    demo.post("/wish", {"what": "traffic", "a_second": 0})
    demo.post("/wish", {"what": "undo_all"})
    page = visit(demo.url)
    page.wait_for_selector("#begin:not([disabled])")
    return page


def counts(page: Page, design: str) -> dict[str, int]:
    script = "nodes => Object.fromEntries(nodes.map(node => [node.dataset.count, parseInt(node.innerText)]))"
    return dict(page.eval_on_selector_all(f'.lane[data-design="{design}"] [data-count]', script))


def has(page: Page, design: str, label: str, *, at_least: int = 1) -> None:
    """Wait until the page counts so many."""
    script = """([design, label, least]) => {
      const node = document.querySelector(`.lane[data-design="${design}"] [data-count="${label}"]`);
      return node !== null && parseInt(node.innerText) >= least; }"""
    page.wait_for_function(script, arg=[design, label, at_least], timeout=CERTAIN_WITHIN_MS)


def test_a_scene_is_walked_from_start_to_end_by_keyboard(live: Page, picture: Any) -> None:
    live.focus("#begin")
    live.keyboard.press("Enter")
    live.wait_for_selector("#outcome code", timeout=CERTAIN_WITHIN_MS)

    rows = live.eval_on_selector_all("#outcome tbody tr", "rows => rows.map(row => row.innerText.split(/\\s+/))")
    delivered = {row[0]: row[1:] for row in rows}
    assert delivered["push_readmodel"][0] == delivered["oban_style_queue"][0] == "1"
    # A tick that a busy machine delays leaves a gap between two windows; then the next column says that it was missed.
    assert "1" in delivered["pull_worker"]
    assert "duetime compare --scenarios calm" in live.inner_text("#outcome")
    picture(live, "demo-scene")
    live.keyboard.press("n")
    assert live.inner_text("#scene-title") == "Call it off"
    assert "scene=call-off" in live.url


def test_killed_overdue_missed_for_the_poller_and_recovery_for_the_drainer(live: Page, picture: Any) -> None:
    before = {design: counts(live, design).get("delivered", 0) for design in ("pull_worker", "push_readmodel")}
    live.click('[data-scene="playground"]')
    for _ in range(3):
        live.click('[data-do="schedule"]')
    live.keyboard.press("d")
    live.wait_for_selector('.lane[data-design="pull_worker"] .chip[data-state="down"]')
    has(live, "pull_worker", "overdue", at_least=3)
    has(live, "push_readmodel", "overdue", at_least=3)
    picture(live, "demo-overdue")
    live.keyboard.press("u")

    has(live, "pull_worker", "missed", at_least=3)
    has(live, "push_readmodel", "delivered", at_least=before["push_readmodel"] + 3)
    picture(live, "demo-missed")
    assert counts(live, "push_readmodel").get("missed", 0) == 0
    assert counts(live, "pull_worker")["delivered"] == before["pull_worker"]


def test_a_page_that_was_not_drawn_for_a_while_shows_the_present_again_and_not_when_the_viewer_went_back(
    live: Page,
) -> None:
    not_drawn = """new Promise((tell) => {
      const until = performance.now() + 4000;
      while (performance.now() < until);
      setTimeout(() => tell(document.getElementById("live").disabled), 1000); })"""
    assert live.evaluate(not_drawn) is True

    live.click("#play")
    # Well behind: what the stream tells may be half a second late, and a second and a half still count as the present.
    live.wait_for_selector("#clock:text-matches(', [4-9] s ago')")
    live.click("#play")
    assert live.evaluate(not_drawn) is False
    live.click("#live")
    live.wait_for_selector("#live[disabled]", state="attached")


def test_axe_finds_nothing_serious_in_light_and_dark_and_on_a_telephone(
    demo: Demo, visit: Callable[..., Page], accessible: Callable[[Page], None], picture: Any
) -> None:
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        page = visit(demo.url, color_scheme=scheme, width=width, reduced_motion="reduce")
        page.wait_for_selector(".chip")
        accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture(page, f"demo-{scheme}-{width}")
        page.keyboard.press("?")
        accessible(page)


def test_flower_shows_the_workers_of_all_three_designs_and_what_they_do(demo: Demo) -> None:
    demo.post("/wish", {"what": "schedule", "in_s": 1, "people": 1})
    wanted = {"pull_worker.poll", "push_readmodel.deliver", "oban_style_queue.deliver"}
    give_up_at = time.monotonic() + 30
    while not wanted <= (seen := {task["name"] for task in read(f"{demo.flower}/api/tasks").values()}):
        assert time.monotonic() < give_up_at, seen
        time.sleep(0.2)

    workers = {name.partition("@")[2] for name in read(f"{demo.flower}/api/workers?refresh=1")}
    assert {"pull_worker", "push_readmodel", "oban_style_queue"} <= workers


def test_another_site_may_do_nothing_and_another_name_is_not_served(demo: Demo) -> None:
    wish = {"what": "do", "kind": "kill", "target": "all"}

    assert demo.post("/wish", wish, Origin="http://evil.example")[0] == 403
    assert demo.post("/wish", wish, Origin="null")[0] == 403
    assert demo.post("/save", {}, Origin="http://evil.example")[0] == 403
    assert demo.post("/wish", wish, Host="evil.example")[0] == 421


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        ({"what": "fly"}, 400, "fly"),
        ({"what": "do", "kind": "partition", "target": "broker"}, 409, "partition"),
        ({"what": "do", "kind": "kill", "target": "worker-9"}, 409, "worker-9"),
        ({"what": "schedule", "in_s": 1e9, "people": 1}, 400, "not between"),
        ({"what": "move", "event": 10**6, "by_s": 1}, 409, "not ahead"),
        ({"what": "undo", "fault": "f99"}, 409, "f99"),
        # Nobody delivers anything just then; and what did not happen is not going on.
        ({"what": "do", "kind": "kill", "target": "delivering"}, 409, "nothing happened"),
        ({"what": "scene", "name": "none"}, 409, "arrive"),
        ([], 400, "not understood"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_with_its_reason(demo: Demo, wish: Any, status: int, says: str) -> None:
    answered, body = demo.post("/wish", wish)

    assert answered == status
    assert says in body["error"]


@pytest.mark.full  # a minute as well
def test_what_is_saved_is_judged_as_the_page_showed_it_and_can_be_done_again(live: Page, demo: Demo) -> None:
    live.click('[data-scene="playground"]')
    live.click('[data-do="schedule"]')
    live.keyboard.press("a")
    live.wait_for_selector('.lane[data-design="pull_worker"] .chip:has-text("worker-2 serving")', timeout=30_000)
    live.click('[data-do="gather"]')
    has(live, "pull_worker", "duplicate", at_least=12)
    # Saved in the middle of it all: what was done last is mended first, and the server that joined leaves.
    live.keyboard.press("d")
    live.wait_for_selector('.lane[data-design="push_readmodel"] .chip[data-state="down"]')
    with live.expect_response(lambda response: response.url.endswith("/save"), timeout=90_000) as saved:
        live.click("#save")
    kept = saved.value.json()
    assert "runs" in kept, kept
    # The picture is half a second behind.
    live.wait_for_timeout(1200)

    for run in kept["runs"]:
        shown = counts(live, run["design"])
        checked = json.loads(duetime("check", "--json", run["run_dir"]).stdout)
        assert checked["outcome"] == run["outcome"]
        # A machine with other work may starve the harness; nothing else may leave it unknown.
        assert all("starved" in reason for reason in checked["unknown_because"])
        told = {label: checked["counts"][label] for label in ("delivered", "missed", "duplicate", "late", "phantom")}
        assert {label: shown.get(label, 0) for label in told} == told
        plan = Plan.from_json(json.loads((Path(run["run_dir"]) / "plan.json").read_text()))
        assert {"worker_added", "kill"} <= {fault.kind for fault in plan.faults} and plan.operations
        assert not live.is_visible(f'.lane[data-design="{run["design"]}"] .chip:has-text("worker-2")')
    assert Path(kept["directory"], "report.html").exists()
    assert duetime("report", kept["directory"], "--out", str(demo.out / "again.html")).returncode == 0


@pytest.mark.full  # a minute; that a stored plan is the plan again is a unit test
def test_what_was_saved_is_carried_out_again_by_run(tmp_path: Path) -> None:
    with running(tmp_path / "demo", "--designs", "push_readmodel", "--rate", "0") as demo:
        demo.post("/wish", {"what": "schedule", "in_s": 3, "people": 4})
        demo.post("/wish", {"what": "do", "kind": "kill", "target": "all"})
        demo.post("/wish", {"what": "undo_all"})
        _, kept = demo.post("/save", {})
    [saved] = kept["runs"]

    done = duetime("run", saved["design"], f"{saved['run_dir']}/plan.json", "--json", "--out", str(tmp_path / "again"))

    [again] = json.loads(done.stdout)["cells"]
    assert (again["outcome"], again["counts"]["delivered"]) == (saved["outcome"], 4) == ("pass", 4), done.stderr


def test_it_ends_cleanly_with_an_open_page_and_leaves_no_process(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path, "--designs", "push_readmodel") as demo:
        first, second = browser.new_page(), browser.new_page()
        for page in (first, second):
            page.goto(demo.url)
            page.wait_for_selector(".chip")
        mine = psutil.Process(demo.process.pid).children(recursive=True)
        assert mine
        os.kill(demo.process.pid, signal.SIGINT)

        assert demo.process.wait(timeout=20) == 0
        _, alive = psutil.wait_procs(mine, timeout=5)
        assert alive == []
        first.wait_for_selector("#word:has-text('start it again')")
        for page in (first, second):
            page.close()


def read(url: str) -> Any:
    with urlopen(url, timeout=20) as answer:  # noqa: S310 - an address that the demo printed
        return json.loads(answer.read())
