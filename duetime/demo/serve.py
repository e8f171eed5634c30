"""Runs the demo until Ctrl-C: the designs, the page and Flower."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from duetime.demo.http import application
from duetime.demo.live_stream import LiveStream
from duetime.demo.saving import save_copies
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.errors import BadUsage
from duetime.harness.runs.cell import stored_cell
from duetime.report.page import write_page

GRACE_S = 2
"""How long an open page may delay the end of the HTTP server."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; called before anything is started.

    Raises:
        BadUsage: the address cannot be used.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise BadUsage(
            f"--port {port} of {host} cannot be used ({error.strerror}); --port 0 chooses a free one"
        ) from error
    return listening


def serve(
    session: DemoSession,
    listening: socket.socket,
    *,
    out: Callable[[], Path],
    flower_url: str,
    ready: Callable[[], None],
) -> None:
    """Serve the page about a running session until SIGINT or SIGTERM.

    out: makes a new directory for saved runs. ready: called when the page can be opened.
    """
    tour = Tour(session)
    live_stream = LiveStream(session, tour)
    ending = threading.Event()
    app = application(
        session,
        live_stream,
        tour,
        save_runs=lambda: save_and_report(session, out()),
        flower_url=flower_url,
        ending=ending,
    )
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S, lifespan="off")
    server = _Server(config, ending, ready)
    live_stream.start()
    try:
        server.run(sockets=[listening])
    finally:
        ending.set()
        live_stream.stop()


class _Server(uvicorn.Server):
    """Calls `ready` when it serves, and ends open streams before it stops."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals like uvicorn, but do not raise them again: Ctrl-C is the normal end of a demo."""
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


def save_and_report(session: DemoSession, out: Path) -> Mapping[str, Any]:
    """Keep closed copies of the runs under `out`, judge them, and write their report."""
    cells = [stored_cell(run_dir).to_json() for run_dir in save_copies(session, out)]
    report = write_page(cells, out / "report.html", descriptions={})
    runs = [{name: cell[name] for name in ("design", "outcome", "counts", "run_dir")} for cell in cells]
    return {"directory": str(out), "report": report.absolute().as_uri(), "runs": runs}


def startup_message(designs: Sequence[str], url: str, flower_url: str) -> str:
    """The lines printed when the page can be opened."""
    lines = [
        f"The demo is at  {url}",
        *([f"Flower is at    {flower_url}"] if flower_url else []),
        f"running:        {', '.join(designs)}",
        "Ctrl-C ends it, and everything with it.",
    ]
    return "\n".join(lines)
