"""A laptop that slept: nothing of it is judged, and the demo says so."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from playwright.sync_api import Page

from duetime.clock import Instant
from duetime.demo.sleep_watch import SleepWatch
from tests.demo.running_demo import Demo, read

SECOND = 1_000_000_000
FINAL_WITHIN_MS = 180_000
"""A start takes eight seconds, and a minute on a busy machine."""


@pytest.mark.parametrize(
    ("wall_s", "mono_s", "slept_s"),
    [
        (0.5, 0.5, 0.0),
        (3.5, 3.5, 0.0),  # a busy machine
        (60.5, 0.5, 60.0),  # asleep: the monotonic clock stood still
        (90.5, 90.5, 90.0),  # frozen: both clocks went on
        (-4.5, 0.5, -5.0),  # set back
        (0.9, 0.5, 0.0),  # adjusted by NTP
    ],
)
def test_a_sleep_is_what_neither_the_period_nor_a_busy_machine_explains(
    wall_s: float, mono_s: float, slept_s: float
) -> None:
    readings = iter([Instant(0, 0), Instant(int(wall_s * SECOND), int(mono_s * SECOND))])

    assert SleepWatch(period_s=0.5, read=lambda: next(readings)).slept_s() == pytest.approx(slept_s)


@pytest.mark.browser
@pytest.mark.full  # it stands still for ten seconds, and starts everything again
def test_a_computer_that_slept_accuses_no_design(demo: Demo, live: Page) -> None:
    started = read(f"{demo.url}state")["run"]
    # Due while everything stands still: the poller would miss them.
    for in_s in (3, 5, 7):
        demo.send("schedule", in_s=in_s, people=4)
    frozen = [psutil.Process(demo.process.pid), *psutil.Process(demo.process.pid).children(recursive=True)]
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    live.wait_for_selector("#message.fail:has-text('does not answer')", timeout=FINAL_WITHIN_MS)
    for process in reversed(frozen):
        os.kill(process.pid, signal.SIGCONT)

    live.wait_for_selector("#message:not(.fail):has-text('This computer slept for')", timeout=FINAL_WITHIN_MS)
    live.wait_for_selector("#message:has-text('count from 0')", timeout=FINAL_WITHIN_MS)
    live.wait_for_selector(".chip", timeout=FINAL_WITHIN_MS)
    assert read(f"{demo.url}state")["run"] != started
    assert live.inner_text("#violations") == "None so far."
    demo.send("schedule", in_s=2, people=1)
    for design in ("oban_style_queue", "push_readmodel"):
        live.wait_for_selector(f'.lane[data-design="{design}"] [data-count="delivered"]:has-text("1")')
    assert live.eval_on_selector_all(".count.bad", "nodes => nodes.length") == 0
