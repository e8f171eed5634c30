"""Runs the demo: the designs, the page about them, and Flower, until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from duetime.demo.http import LiveStream, application
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.errors import BadUsage
from duetime.harness.runs.cell import stored_cell
from duetime.report.page import write_page

GRACE_S = 2
"""How long an open page may hold the server up when it ends."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything is started.

    Raises:
        BadUsage: the address cannot be had.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise BadUsage(
            f"--port {port} of {host} cannot be used ({error.strerror}); --port 0 takes a free one"
        ) from error
    return listening


def serve(
    live: DemoSession, listening: socket.socket, *, out: Callable[[], Path], flower_url: str, ready: Callable[[], None]
) -> None:
    """Serve the page about `live`, which is running, until SIGINT or SIGTERM.

    out: makes a new directory for what is saved. ready: called when the page can be opened.
    """
    tour = Tour(live)
    watcher = LiveStream(live, tour)
    ending = threading.Event()
    app = application(live, watcher, tour, save_runs=lambda: save(live, out()), flower_url=flower_url, ending=ending)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S, lifespan="off")
    server = _Server(config, ending, ready)
    watcher.start()
    try:
        server.run(sockets=[listening])
    finally:
        ending.set()
        watcher.stop()


class _Server(uvicorn.Server):
    """Says when it is ready, and lets open streams end first when it stops."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does it, but for raising them again afterwards: for a demo Ctrl-C is the way to end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending.set()
        await super().shutdown(sockets)


def save(live: DemoSession, out: Path) -> Mapping[str, Any]:
    """Keep what happened so far as closed runs under `out`, judge them, and make their report."""
    cells = [stored_cell(run_dir).to_json() for run_dir in live.save(out)]
    report = write_page(cells, out / "report.html", ideas={})
    return {"directory": str(out), "report": report.absolute().as_uri(), "runs": [_brief(cell) for cell in cells]}


def _brief(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: cell[name] for name in ("design", "outcome", "counts", "run_dir")}


def told(designs: Sequence[str], url: str, flower_url: str) -> str:
    """What is printed when the page is there."""
    lines = [
        f"The demo is at  {url}",
        *([f"Flower is at    {flower_url}"] if flower_url else []),
        f"running:        {', '.join(designs)}",
        "Ctrl-C ends it, and everything with it.",
    ]
    return "\n".join(lines)
