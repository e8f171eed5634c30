"""Half an hour of a demo that is hurt every ten seconds: it neither grows nor falls behind, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser

from tests.demo.test_page_in_browser import Demo, running

pytestmark = pytest.mark.soak

LASTS_S = float(os.environ.get("DUETIME_SOAK_S", "1800"))
EVERY_S = 10.0
A_SECOND = 40
"""Of each of three designs: 120 deliveries a second when all is well, and about half of that under faults."""
WISHES = (
    ("kill", "worker-1"),
    ("broker_kill", "broker"),
    ("pause", "worker-1"),
    ("database_kill", "database"),
    ("deploy", "all"),
    ("broker_kill", "broker"),
    ("kill", "all"),
    ("database_kill", "database"),
    ("kill", "delivering"),
)
"""A server's fault and a service's in turn, so that each can begin while the one before is still being mended."""
AGAIN_S = 0.5
NOBODY = re.compile("nothing happened|is (not up|starting|down)$")
"""What is said when there is nobody to be hurt just then."""


@dataclass
class Hurting:
    """One fault every ten seconds, on time, also while others are being mended; each lasts three seconds at most."""

    demo: Demo
    began: float = field(default_factory=time.monotonic)
    done: list[float] = field(default_factory=list)
    """How long after its time each began, in seconds; what it was to hit may only just be coming up."""
    refused: list[str] = field(default_factory=list)

    def run(self, lasts_s: float) -> None:
        with ThreadPoolExecutor(max_workers=len(WISHES)) as pool:
            for number, (kind, target) in enumerate(cycle(WISHES)):
                due = self.began + number * EVERY_S
                if due >= self.began + lasts_s:
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                pool.submit(self._hurt, kind, target, due)

    def _hurt(self, kind: str, target: str, due: float) -> None:
        began_s, (status, body) = time.monotonic() - due, self._wish(kind, target)
        while status != HTTPStatus.OK and (began_s := time.monotonic() - due) < EVERY_S:
            time.sleep(AGAIN_S)
            status, body = self._wish(kind, target)
        if status != HTTPStatus.OK:
            self.refused.append(f"{kind} {target}: {body['error']}")
            return
        self.done.append(began_s)
        if kind != "deploy":
            time.sleep(1.0 if kind.endswith("_kill") else 3.0)
            self.demo.post("/wish", {"what": "undo", "fault": body["done"]})

    def _wish(self, kind: str, target: str) -> tuple[int, dict[str, Any]]:
        return self.demo.post("/wish", {"what": "do", "kind": kind, "target": target})


def test_half_an_hour_of_faults_leaves_it_as_it_was(
    tmp_path: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "--rate", str(A_SECOND), "--delivery-time", "0.002") as demo:
        page = browser.new_page()
        page.goto(demo.url)
        page.wait_for_selector(".chip")
        devtools = page.context.new_cdp_session(page)
        worker = psutil.Process(demo.process.pid)
        samples = []
        hurting = Hurting(demo)
        began = hurting.began
        thread = threading.Thread(target=hurting.run, args=(LASTS_S,))
        thread.start()
        while thread.is_alive():
            page.wait_for_timeout(EVERY_S * 1000)
            devtools.send("HeapProfiler.collectGarbage")
            heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
            shown = page.eval_on_selector_all(
                '[data-count="delivered"]', "nodes => nodes.map(node => parseInt(node.innerText))"
            )
            samples.append((time.monotonic() - began, worker.memory_info().rss, heap, sum(shown)))
        _, _, _, delivered = samples[-1]
        clock_s = float(page.inner_text("#clock").split()[0])
        behind_s = time.monotonic() - began - clock_s
        everybody = worker.children(recursive=True)
        word = page.inner_text("#word")
        worker.send_signal(signal.SIGINT)
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
            f"\n{samples[-1][0]:.0f} s, {len(hurting.done)} faults, {median(hurting.done):.1f} s after their time",
            f"{len(hurting.refused)} refused {hurting.refused[:3]}; the page says {word!r}",
            f"{delivered} deliveries, {delivered / samples[-1][0]:.1f} a second",
            f"server {memory[0]:.0f} then {memory[1]:.0f} MB, page {heap[0]:.1f} then {heap[1]:.1f} MB",
            f"the picture is {behind_s:.1f} s behind; it ended in {ended_s:.1f} s with status {status}",
            sep="; ",
        )
    _, alive = psutil.wait_procs(everybody, timeout=10)
    assert (status, alive) == (0, [])
    # One that finds nobody in the middle of a delivery, or nobody up within ten seconds, is refused; nothing else is.
    assert all(NOBODY.search(said) for said in hurting.refused), hurting.refused
    assert len(hurting.done) >= 0.9 * LASTS_S / EVERY_S
    assert word == "" or "did not happen in" in word
    assert delivered / samples[-1][0] >= 50
    assert memory[1] <= 1.1 * memory[0]
    assert heap[1] <= 1.2 * heap[0]
    assert ended_s <= 30
