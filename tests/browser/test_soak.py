"""Half an hour of a demo that is hurt every ten seconds: it neither grows nor falls behind, and leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import median

import psutil
import pytest
from playwright.sync_api import Browser

from tests.browser.test_demo_page import Demo, running

pytestmark = pytest.mark.soak

LASTS_S = float(os.environ.get("DUETIME_SOAK_S", "1800"))
EVERY_S = 10.0
A_SECOND = 30
"""Of each of three designs: ninety deliveries a second when all is well, and a good part of that under faults."""
WISHES = (
    ("kill", "server-1"),
    ("pause", "server-1"),
    ("broker_kill", "broker"),
    ("kill", "all"),
    ("deploy", "all"),
    ("database_kill", "database"),
    ("kill", "delivering"),
)


def hurt(demo: Demo) -> Iterator[str]:
    """One fault after another, each mended three seconds later; says what was done or refused."""
    for kind, target in cycle(WISHES):
        status, body = demo.post("/wish", {"what": "do", "kind": kind, "target": target})
        if status == 200 and kind != "deploy":
            time.sleep(1.0 if kind.endswith("_kill") else 3.0)
            undone, answer = demo.post("/wish", {"what": "undo", "fault": body["done"]})
            body = body if undone == 200 else answer
        yield f"{kind} {target}: {body.get('error', 'done')}"


def test_half_an_hour_of_faults_leaves_it_as_it_was(
    tmp_path: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "--rate", str(A_SECOND), "--delivery-time", "0.002") as demo:
        page = browser.new_page()
        page.goto(demo.url)
        page.wait_for_selector(".chip")
        devtools = page.context.new_cdp_session(page)
        server = psutil.Process(demo.process.pid)
        samples = []
        hurting, done, refused = hurt(demo), 0, []
        began = time.monotonic()
        while time.monotonic() - began < LASTS_S:
            next_at = time.monotonic() + EVERY_S
            said = next(hurting)
            done += 1
            if not said.endswith("done"):
                refused.append(said)
            page.wait_for_timeout(max(0.0, next_at - time.monotonic()) * 1000)
            devtools.send("HeapProfiler.collectGarbage")
            heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
            shown = page.eval_on_selector_all(
                '[data-count="delivered"]', "nodes => nodes.map(node => parseInt(node.innerText))"
            )
            samples.append((time.monotonic() - began, server.memory_info().rss, heap, sum(shown)))
        _, _, _, delivered = samples[-1]
        clock_s = float(page.inner_text("#clock").split()[0])
        behind_s = time.monotonic() - began - clock_s
        everybody = server.children(recursive=True)
        assert page.inner_text("#word") == ""
        server.send_signal(signal.SIGINT)
        ends = time.monotonic()
        status = demo.process.wait(timeout=120)
        ended_s = time.monotonic() - ends
        page.close()

    # The first third fills what is kept on purpose: the last seventy-five seconds.
    third = len(samples) // 3
    memory = [median(sample[1] for sample in samples[n * third : (n + 1) * third]) / 1e6 for n in (1, 2)]
    heap = [median(sample[2] for sample in samples[n * third : (n + 1) * third]) / 1e6 for n in (1, 2)]
    with capsys.disabled():
        print(
            f"\n{samples[-1][0]:.0f} s, {done} faults ({len(refused)} refused: {refused[:3]})",
            f"{delivered} deliveries, {delivered / samples[-1][0]:.1f} a second",
            f"server {memory[0]:.0f} then {memory[1]:.0f} MB, page {heap[0]:.1f} then {heap[1]:.1f} MB",
            f"the picture is {behind_s:.1f} s behind; it ended in {ended_s:.1f} s with status {status}",
            sep="; ",
        )
    _, alive = psutil.wait_procs(everybody, timeout=10)
    assert (status, alive) == (0, [])
    # One that finds nobody in the middle of a delivery is refused; nothing else is.
    assert all("nothing happened" in said for said in refused), refused
    assert delivered / samples[-1][0] >= 50
    assert memory[1] <= 1.1 * memory[0]
    assert heap[1] <= 1.2 * heap[0]
    assert ended_s <= 30
