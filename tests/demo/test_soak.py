"""Half an hour of a demo with a fault every ten seconds: its memory does not grow, and no process is left."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import pytest
from playwright.sync_api import Browser, CDPSession, Page

from tests.demo.running_demo import Demo, running

pytestmark = pytest.mark.soak

DURATION_S = float(os.environ.get("DUETIME_SOAK_S", "1800"))
FAULT_EVERY_S = 10.0
PER_SECOND = 40
"""For each of three designs: 120 deliveries a second without faults, and about half of that with faults."""
FAULTS = (
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
"""Faults of workers and of services in turn, so that each can be injected while the one before is being healed."""
RETRY_S = 0.5
NO_TARGET = re.compile("nothing happened|is (not up|starting|down)$")
"""The messages if there is no worker to inject the fault into."""


@dataclass
class FaultInjector:
    """Injects a fault every ten seconds, also while others are being healed; each is active for 3 s at most."""

    demo: Demo
    began: float = field(default_factory=time.monotonic)
    delays_s: list[float] = field(default_factory=list)
    """How long after its time each fault was injected; a worker may have to start first."""
    rejected: list[str] = field(default_factory=list)

    def run(self, duration_s: float) -> None:
        with ThreadPoolExecutor(max_workers=len(FAULTS)) as pool:
            for number, (kind, target) in enumerate(cycle(FAULTS)):
                due = self.began + number * FAULT_EVERY_S
                if due >= self.began + duration_s:
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                pool.submit(self._inject_and_heal, kind, target, due)

    def _inject_and_heal(self, kind: str, target: str, due: float) -> None:
        delay_s, (status, answer) = time.monotonic() - due, self._inject(kind, target)
        while status != HTTPStatus.OK and (delay_s := time.monotonic() - due) < FAULT_EVERY_S:
            time.sleep(RETRY_S)
            status, answer = self._inject(kind, target)
        if status != HTTPStatus.OK:
            self.rejected.append(f"{kind} {target}: {answer['error']}")
            return
        self.delays_s.append(delay_s)
        if kind != "deploy":
            time.sleep(1.0 if kind.endswith("_kill") else 3.0)
            self.demo.send("heal", fault=answer["done"])

    def _inject(self, kind: str, target: str) -> tuple[int, dict[str, Any]]:
        return self.demo.send("inject", kind=kind, target=target)


class Sample(NamedTuple):
    after_s: float
    server_mb: float
    page_mb: float
    delivered: int


def take_sample(began: float, server: psutil.Process, page: Page, devtools: CDPSession) -> Sample:
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
    delivered = page.eval_on_selector_all(
        '[data-count="delivered"]', "nodes => nodes.map(node => parseInt(node.innerText))"
    )
    return Sample(time.monotonic() - began, server.memory_info().rss / 1e6, heap / 1e6, sum(delivered))


def second_and_last_third(values: Sequence[float]) -> tuple[float, float]:
    """Medians; the first third fills what is kept on purpose, the last 75 seconds."""
    third = len(values) // 3
    return median(values[third : 2 * third]), median(values[2 * third : 3 * third])


def test_half_an_hour_of_faults_needs_no_more_memory_and_leaves_no_process(
    tmp_path: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "--rate", str(PER_SECOND), "--delivery-time", "0.002") as demo:
        page = browser.new_page()
        page.goto(demo.url)
        page.wait_for_selector(".chip")
        devtools = page.context.new_cdp_session(page)
        server = psutil.Process(demo.process.pid)
        injector = FaultInjector(demo)
        thread = threading.Thread(target=injector.run, args=(DURATION_S,))
        thread.start()
        samples = []
        while thread.is_alive():
            page.wait_for_timeout(FAULT_EVERY_S * 1000)
            samples.append(take_sample(injector.began, server, page, devtools))
        behind_s = time.monotonic() - injector.began - float(page.inner_text("#clock").split()[0])
        children = server.children(recursive=True)
        message = page.inner_text("#message")
        server.send_signal(signal.SIGINT)
        ends = time.monotonic()
        status = demo.process.wait(timeout=120)
        ended_s = time.monotonic() - ends
        page.close()

    last = samples[-1]
    server_mb = second_and_last_third([sample.server_mb for sample in samples])
    page_mb = second_and_last_third([sample.page_mb for sample in samples])
    with capsys.disabled():
        print(
            f"\n{last.after_s:.0f} s, {len(injector.delays_s)} faults, {median(injector.delays_s):.1f} s late",
            f"{len(injector.rejected)} rejected {injector.rejected[:3]}; the page shows {message!r}",
            f"{last.delivered} deliveries, {last.delivered / last.after_s:.1f} a second",
            f"server {server_mb[0]:.0f} then {server_mb[1]:.0f} MB, page {page_mb[0]:.1f} then {page_mb[1]:.1f} MB",
            f"the page is {behind_s:.1f} s behind; the demo ended in {ended_s:.1f} s with status {status}",
            sep="; ",
        )
    _, alive = psutil.wait_procs(children, timeout=10)
    assert (status, alive) == (0, [])
    # Rejected only if no worker is delivering, or none is up within ten seconds.
    assert all(NO_TARGET.search(error) for error in injector.rejected), injector.rejected
    assert len(injector.delays_s) >= 0.9 * DURATION_S / FAULT_EVERY_S
    assert message == "" or "did not happen in" in message
    assert last.delivered / last.after_s >= 50
    assert server_mb[1] <= 1.1 * server_mb[0]
    assert page_mb[1] <= 1.2 * page_mb[0]
    assert ended_s <= 30
