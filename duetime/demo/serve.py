"""Runs the demo until Ctrl-C: the designs, the page and Flower."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from duetime.demo.http import application
from duetime.demo.live_stream import LiveStream
from duetime.demo.saving import SavedRuns
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.errors import BadUsage

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
    ready: Callable[[], None],
) -> None:
    """Serve the page about a running session until SIGINT or SIGTERM.

    out: makes a new directory for saved runs. ready: called when the page can be opened.
    """
    tour, saved = Tour(session), SavedRuns(session, out)
    live_stream = LiveStream(session, tour, saved)
    app = application(session, live_stream, tour, saved)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S, lifespan="off")
    server = _Server(config, ready)
    live_stream.start()
    try:
        server.run(sockets=[listening])
    finally:
        live_stream.stop()


class _Server(uvicorn.Server):
    """Calls `ready` when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
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


def startup_message(designs: Sequence[str], url: str, flower_url: str) -> str:
    """The lines printed when the page can be opened."""
    lines = [
        f"The demo is at  {url}",
        *([f"Flower is at    {flower_url}"] if flower_url else []),
        f"running:        {', '.join(designs)}",
        "Ctrl-C ends it, and everything with it.",
    ]
    return "\n".join(lines)
