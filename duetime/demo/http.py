"""The demo's HTTP server: the page, the stream of its state, and commands. Loopback only."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from duetime.demo.commands import parse_command
from duetime.demo.live_stream import LiveStream
from duetime.demo.scenes import SCENES
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.errors import DuetimeError
from duetime.report.page import ASSETS as REPORT_ASSETS
from duetime.shell_command import program

ASSETS = Path(__file__).with_name("assets")
SERVED = {
    **{name: ASSETS / name for name in ("demo.css", "demo.js")},
    **{name: REPORT_ASSETS / name for name in ("common.css", "lanes.js", "story.js")},
}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""No other site may load anything here, or show this page in a frame and have its buttons clicked."""
SCENE_TEXTS = ("name", "title", "what", "goal", "button", "lesson", "clause", "scenario")


class SameOrigin(BaseHTTPMiddleware):
    """Rejects host names other than loopback, and changes requested by another page."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        host = request.headers.get("host", "")
        if (urlsplit(f"//{host}").hostname or "") not in LOOPBACK:
            return PlainTextResponse("This page is served on loopback only: use http://127.0.0.1.\n", 421)
        origin = request.headers.get("origin")
        if request.method not in {"GET", "HEAD"} and origin != f"http://{host}":
            return PlainTextResponse("Only the demo's own page may send this.\n", 403)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response


def application(
    session: DemoSession,
    live_stream: LiveStream,
    tour: Tour,
    *,
    save_runs: Callable[[], Mapping[str, Any]],
    flower_url: str,
    ending: threading.Event,
) -> Starlette:
    """The demo's web application.

    save_runs: saves the runs and returns where. flower_url: empty without Flower. ending: set to end open streams.
    """
    endpoints = _Endpoints(session, live_stream, tour, save_runs, flower_url, ending)
    return Starlette(
        routes=[
            Route("/", endpoints.page),
            Route("/assets/{name}", endpoints.asset),
            Route("/about", endpoints.about),
            Route("/stream", endpoints.stream),
            Route("/command", endpoints.command, methods=["POST"]),
            Route("/save", endpoints.save, methods=["POST"]),
        ],
        middleware=[Middleware(SameOrigin)],
    )


class _Endpoints:
    def __init__(
        self,
        session: DemoSession,
        live_stream: LiveStream,
        tour: Tour,
        save_runs: Callable[[], Mapping[str, Any]],
        flower_url: str,
        ending: threading.Event,
    ) -> None:
        self._session = session
        self._live_stream = live_stream
        self._tour = tour
        self._save_runs = save_runs
        self._flower_url = flower_url
        self._ending = ending
        self._saving = threading.Lock()

    async def page(self, _request: Request) -> Response:
        return FileResponse(ASSETS / "demo.html")

    async def asset(self, request: Request) -> Response:
        path = SERVED.get(request.path_params["name"])
        return FileResponse(path) if path else PlainTextResponse("There is no such file.\n", 404)

    async def about(self, _request: Request) -> Response:
        scenes = [{name: getattr(scene, name) for name in SCENE_TEXTS} for scene in SCENES]
        return JSONResponse(
            {"scenes": scenes, "flower": self._flower_url, "designs": list(self._session.runs), "program": program()}
        )

    async def stream(self, request: Request) -> Response:
        return StreamingResponse(self._events(request), media_type="text/event-stream")

    async def _events(self, request: Request) -> AsyncIterator[str]:
        sent = 0
        while not self._ending.is_set() and not await request.is_disconnected():
            if self._live_stream.checks > sent:
                state = await run_in_threadpool(self._live_stream.messages, sent)
                sent = state["check"]
                yield f"data: {json.dumps(state, separators=(',', ':'))}\n\n"
            await asyncio.sleep(0.05)

    async def command(self, request: Request) -> Response:
        try:
            carry_out = parse_command(self._session, self._tour, await request.json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": f"not a command: {type(error).__name__} {error}"}, 400)
        try:
            return JSONResponse({"done": await run_in_threadpool(carry_out)})
        except DuetimeError as error:
            return JSONResponse({"error": str(error)}, 409)

    async def save(self, _request: Request) -> Response:
        if not self._saving.acquire(blocking=False):
            return JSONResponse({"error": "the session is being saved already"}, 409)
        try:
            return JSONResponse(await run_in_threadpool(self._save_runs))
        except DuetimeError as error:
            return JSONResponse({"error": str(error)}, 409)
        finally:
            self._saving.release()
