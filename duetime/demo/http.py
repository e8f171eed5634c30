"""The demo's HTTP server: the page, its state, commands and reports of saved runs. Loopback only."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from duetime.demo.commands import parse_command
from duetime.demo.live_stream import LiveStream
from duetime.demo.saving import SavedRuns
from duetime.demo.scenes import SCENES
from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour
from duetime.errors import DuetimeError
from duetime.report.page import ASSETS as REPORT_ASSETS
from duetime.shell_command import program

ASSETS = Path(__file__).with_name("assets")
SERVED = {
    **{name: ASSETS / name for name in ("demo.css", "demo.js", "tour.js")},
    **{name: REPORT_ASSETS / name for name in ("common.css", "marks.js", "lanes.js", "story.js")},
}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""No other site may load anything here, or show this page in a frame and have its buttons clicked."""
REPORT_POLICY = "frame-ancestors 'none'"
SCENE_TEXTS = ("name", "title", "what", "asks", "button", "clause", "scenario")


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
        # A report has its own policy, because its scripts are inside it.
        is_report = request.url.path.startswith("/saved/")
        response.headers["Content-Security-Policy"] = REPORT_POLICY if is_report else POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response


def application(session: DemoSession, live_stream: LiveStream, tour: Tour, saved: SavedRuns) -> Starlette:
    """The demo's web application."""
    endpoints = _Endpoints(session, live_stream, tour, saved)
    return Starlette(
        routes=[
            Route("/", endpoints.page),
            Route("/assets/{name}", endpoints.asset),
            Route("/about", endpoints.about),
            Route("/state", endpoints.state),
            Route("/command", endpoints.command, methods=["POST"]),
            Route("/save", endpoints.save, methods=["POST"]),
            Route("/saved/{number:int}", endpoints.report),
        ],
        middleware=[Middleware(SameOrigin)],
    )


class _Endpoints:
    def __init__(self, session: DemoSession, live_stream: LiveStream, tour: Tour, saved: SavedRuns) -> None:
        self._session = session
        self._live_stream = live_stream
        self._tour = tour
        self._saved = saved
        self._saving = threading.Lock()

    async def page(self, _request: Request) -> Response:
        return FileResponse(ASSETS / "demo.html")

    async def asset(self, request: Request) -> Response:
        path = SERVED.get(request.path_params["name"])
        return FileResponse(path) if path else PlainTextResponse("There is no such file.\n", 404)

    async def about(self, _request: Request) -> Response:
        scenes = [{name: getattr(scene, name) for name in SCENE_TEXTS} for scene in SCENES]
        summaries = {name: design.summary for name, design in self._session.designs.items()}
        return JSONResponse(
            {"scenes": scenes, "designs": list(summaries), "summaries": summaries, "program": program()}
        )

    async def state(self, request: Request) -> Response:
        """Answers at once. A page asks again and again; a stream would take one of the six connections of a browser."""
        asked = request.query_params
        try:
            since = int(asked.get("since", "0"))
        except ValueError:
            return JSONResponse({"error": f"since={asked['since']!r} is not the number of a check"}, 400)
        changes = await run_in_threadpool(self._live_stream.changes, asked.get("run", ""), since)
        return Response(status_code=204) if changes is None else JSONResponse(changes)

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
            return JSONResponse(await run_in_threadpool(self._saved.save))
        except DuetimeError as error:
            return JSONResponse({"error": str(error)}, 409)
        finally:
            self._saving.release()

    async def report(self, request: Request) -> Response:
        path = self._saved.report(request.path_params["number"])
        return FileResponse(path) if path else PlainTextResponse("No runs were saved under this number.\n", 404)
