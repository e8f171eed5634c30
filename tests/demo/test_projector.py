"""The page in front of a class: everything visible, predictions, one press for one fault, many tabs, saved runs."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, Request

from tests.browser import OpenPage, Screenshot
from tests.demo.running_demo import Demo, read

pytestmark = pytest.mark.browser

FINAL_WITHIN_MS = 60_000
TABS = 9
"""A browser opens six connections to a server."""


@pytest.fixture(scope="module")
def played(demo: Demo, browser: Browser) -> Iterator[Page]:
    """The page after its first scene, which was played with the keyboard and a prediction, at the beginning."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(demo.url)
    page.wait_for_selector("#begin:not([disabled])")
    page.focus('[data-label="missed"] button:has-text("pull_worker")')
    page.keyboard.press("Enter")
    page.focus("#begin")
    page.keyboard.press("Enter")
    page.wait_for_selector("#outcome:has-text('You said: pull_worker')")
    assert not page.is_visible("[data-outcome]")
    page.wait_for_selector("#scene.revealed", timeout=FINAL_WITHIN_MS)
    yield page
    page.close()


def test_a_scene_says_what_was_measured_and_why(played: Page, demo: Demo) -> None:
    assert "delivered 1 of 1. Its worker sleeps" in played.inner_text('[data-outcome="push_readmodel"]')
    assert "delivered 1 of 1. Its worker holds" in played.inner_text('[data-outcome="oban_style_queue"]')
    # On a busy machine a late tick leaves a gap between two polls; then the poller's reminder is missed.
    poller = played.inner_text('[data-outcome="pull_worker"]')
    missed = "missed 1" in poller
    assert ("delivered 0 of 1, missed 1. A poll came late" if missed else "delivered 1 of 1. It polls") in poller
    assert "compare --scenarios calm" in played.inner_text("#in-a-run")

    answer = played.inner_text('[data-answer="missed"]')
    assert answer.startswith(f"Who will miss? {'pull_worker' if missed else 'None'}. ")
    assert ("right" in answer) == missed


def test_every_lane_and_every_text_is_visible_on_a_projector(played: Page, screenshot: Screenshot) -> None:
    for width, height in ((1280, 800), (1024, 768)):
        played.set_viewport_size({"width": width, "height": height})
        for scene in ("kill", "playground"):
            played.click(f'[data-scene="{scene}"]')
            wait_until_all_lanes_are_visible(played)
            assert all_visible(played, ".stage:not([hidden]) button:visible"), (scene, width)
        played.click('[data-scene="arrive"]')
        played.wait_for_selector("#scene.revealed")
        wait_until_all_lanes_are_visible(played)
        assert all_visible(played, "[data-outcome], #rule, #next"), width
        screenshot(played, f"demo-revealed-{width}")


def wait_until_all_lanes_are_visible(page: Page) -> None:
    script = """() => {
      const bottoms = [...document.querySelectorAll('.lane canvas')].map(lane => lane.getBoundingClientRect().bottom);
      return bottoms.length === 3 && bottoms.every(bottom => bottom <= innerHeight); }"""
    page.wait_for_function(script, timeout=10_000)


def all_visible(page: Page, selector: str) -> bool:
    """Return True if each of these elements is inside the stage, which can be scrolled."""
    script = """nodes => { const stage = document.querySelector('.stage:not([hidden])').getBoundingClientRect();
      return nodes.length > 0 && nodes.every(node => node.getBoundingClientRect().bottom <= stage.bottom + 1); }"""
    return bool(page.eval_on_selector_all(selector, script))


def test_a_long_result_is_in_smaller_type_and_not_cut_off(played: Page) -> None:
    """The fullest result, of twelve reminders and three designs, has eleven lines."""
    sizes = played.evaluate("""() => {
      const text = document.createElement("div"), sizes = {};
      text.style.cssText = "height: 17rem; overflow-y: auto; line-height: 1.25";
      document.querySelector("main").append(text);
      for (const lines of [4, 11, 40]) {
        const line = () => Duetime.element("p", { style: "margin: 3px 0" }, "A");
        text.replaceChildren(...Array.from({ length: lines }, line));
        text.style.fontSize = "";
        Duetime.Tour.prototype.fit.call({ at: () => text });
        sizes[lines] = [parseFloat(getComputedStyle(text).fontSize), text.scrollHeight <= text.clientHeight];
      }
      text.remove();
      return sizes; }""")

    normal = sizes["4"][0]
    assert sizes["4"] == [normal, True]
    assert 15 < sizes["11"][0] <= normal
    assert sizes["11"][1]
    assert sizes["40"] == [15, False]


def test_the_lines_of_the_scene_are_highlighted(played: Page, demo: Demo) -> None:
    events = read(f"{demo.url}state")["scene"]["events"]
    played.click('[data-scene="arrive"]')
    assert events

    played.wait_for_selector(f'#lanes[data-highlighted="{" ".join(map(str, events))}"]')
    played.click('[data-scene="cancel"]')
    played.wait_for_selector('#lanes[data-highlighted=""]')


def test_the_picture_pauses_at_the_result_and_a_command_resumes_it(played: Page) -> None:
    assert played.is_visible("#paused")
    played.click('[data-scene="playground"]')
    with played.expect_response("**/command"):
        played.click('[data-action="schedule"]')

    played.wait_for_selector("#play:has-text('Pause')")
    assert not played.is_visible("#paused")


def test_space_pauses_the_picture_wherever_the_focus_is_and_injects_nothing(live: Page) -> None:
    commands: list[Request] = []
    live.on("request", lambda request: commands.append(request) if request.url.endswith("/command") else None)
    live.click('[data-scene="cancel"]')
    live.keyboard.press("n")
    assert live.evaluate("document.activeElement.id") == "begin"
    for focused in ("#begin", "#rate", '[data-scene="arrive"]', "#play"):
        live.focus(focused)
        live.keyboard.press("Space")
        live.wait_for_selector("#play:has-text('Play')")
        live.keyboard.press("Space")
        live.wait_for_selector("#play:has-text('Pause')")
    assert commands == []


def test_labels_of_faults_at_the_same_time_have_rows_of_their_own(live: Page) -> None:
    labels = live.evaluate("""() => {
      const host = document.body.appendChild(document.createElement("div"));
      const fault = (from, title) => ({
        name: title, title, target: "worker-1", colour: "red", from, to: from + 3, excused: from + 4, only: [] });
      const faults = [
        fault(5, "workers killed"), fault(5.2, "broker killed"), fault(5.4, "database killed"), fault(29.5, "paused")];
      const lanes = new Duetime.Lanes(host, { select: () => {} });
      lanes.show([{ design: "x", notes: [], violations: [], workers: [], ends: 30, faults }],
        { from: 0, to: 30, head: () => [] });
      const context = lanes.drawn[0].canvas.getContext("2d"), { labels } = lanes.faultLabels(context, { faults });
      const placed = [...labels.values()].map(({ words, x, row }) => (
        { row, to: x + context.measureText(words).width }));
      host.remove();
      return { placed, width: lanes.width };
    }""")

    placed = labels["placed"]
    assert [label["row"] for label in placed] == [0, 1, 2, 0]
    assert all(label["to"] <= labels["width"] for label in placed)


def test_nine_tabs_show_the_same_live_state(demo: Demo, browser: Browser) -> None:
    context = browser.new_context()
    pages = [context.new_page() for _ in range(TABS)]
    for page in pages:
        page.goto(demo.url)
    for page in pages:
        page.wait_for_selector(".chip")
    delivered = {lane["design"]: lane["counts"]["delivered"] for lane in read(f"{demo.url}state")["lanes"]}
    with pages[-1].expect_response("**/command"):
        pages[-1].keyboard.press("s")
    count = f'.lane[data-design="push_readmodel"] strong:text-is("{delivered["push_readmodel"] + 1}")'
    for page in pages:
        page.wait_for_selector(count)
    context.close()


def test_a_page_that_gets_no_answer_says_so_and_connects_again(demo: Demo, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(demo.url)
    page.wait_for_selector(".chip")
    page.route("**/state?*", lambda route: route.abort())
    page.wait_for_selector("#message.fail:has-text('does not answer')")
    page.unroute("**/state?*")

    page.wait_for_selector("#message:not(.fail):has-text('Connected again after')")
    page.close()


def test_a_worker_links_to_its_page_in_flower(live: Page) -> None:
    addresses = live.eval_on_selector_all("a.chip", "links => links.map(link => link.href)")

    assert {address.rpartition("/")[2] for address in addresses} >= {
        "worker-1%40oban_style_queue", "worker-1%40pull_worker", "worker-1%40push_readmodel",
    }  # fmt: skip
    with urlopen(addresses[0], timeout=20) as answer:  # noqa: S310 - the demo's own Flower
        assert answer.status == 200
    assert "RECEIVED" in live.inner_text("#flower-note")


def test_saved_runs_are_links_with_counts(live: Page, open_page: OpenPage, demo: Demo) -> None:
    with live.expect_response("**/command"):
        live.keyboard.press("s")
    with live.expect_response("**/save", timeout=90_000):
        live.click("#save")
    live.wait_for_selector("#last-saved a")

    links = live.eval_on_selector_all("#last-saved a", "links => links.map(link => [link.textContent, link.href])")
    assert [name for name, _ in links] == ["oban_style_queue", "pull_worker", "push_readmodel", "the report"]
    assert "delivered" in live.inner_text("#last-saved")
    assert live.inner_text("#message") == ""
    report = open_page(links[2][1])
    report.wait_for_selector("body.ready")
    assert report.eval_on_selector_all("#lanes .lane", "lanes => lanes.length") == 3
    # Another page, and this one later, find them too.
    other = open_page(demo.url)
    other.wait_for_selector("#saved-section:not([hidden]) a")
