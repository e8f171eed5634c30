"""The demo's HTTP side: the page, a stream of what happens, and the viewer's wishes. Loopback only."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping
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

from duetime.demo.live_checker import LiveChecker
from duetime.demo.session import DemoSession
from duetime.demo.tour import SCENES, Tour
from duetime.errors import DuetimeError
from duetime.report.lane import Numbers
from duetime.report.page import ASSETS as DRAWING

ASSETS = Path(__file__).with_name("assets")
SERVED = {
    "demo.css": ASSETS / "demo.css",
    "demo.js": ASSETS / "demo.js",
    "look.css": DRAWING / "look.css",
    "lanes.js": DRAWING / "lanes.js",
}
LOOK_EVERY_S = 0.5
RECENT = 30
"""Anomalies and faults that a page is told of; the files have all."""
LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""No other site may load anything here, nor show this page in a frame and have its buttons pressed."""


class LiveStream:
    """Looks at every run twice a second, for all pages at once."""

    def __init__(self, live: DemoSession, tour: Tour) -> None:
        self.lanes: dict[str, Numbers] = {}
        self.looks = 0
        self.failed = ""
        self._live = live
        self._tour = tour
        self._watches = {name: LiveChecker(run.files.path) for name, run in live.runs.items()}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def told(self, since: int) -> Mapping[str, Any]:
        """Everything that a page that has seen `since` looks does not know; 0 for a new page."""
        with self._lock:
            lanes = []
            for name, drawn in self.lanes.items():
                anew, notes, gone = self._watches[name].since(since)
                workers = self._live.runs[name].workers(self._live.removed_workers())
                keys = {note["key"] for note in notes}
                told = {"anew": anew, "notes": notes, "gone": gone, "worker_states": workers}
                lanes.append({**_head(drawn, keys), **told})
            return {"look": self.looks, "now": self._live.now_s(), "lanes": lanes, **self._state()}

    def _state(self) -> Mapping[str, Any]:
        live = self._live
        return {
            "doing": [
                {"fault": one.planned.fault, "kind": one.planned.kind, "target": one.planned.target, "phase": one.phase}
                for one in live.doing
                if one.phase != "over"
            ],
            "a_second": live.traffic.a_second,
            "upcoming": sorted((due_s, event) for event, due_s in list(live.traffic.upcoming.items()))[:20],
            "next_worker": live.next_worker_name(),
            "scene": self._tour.state(),
            "broken": live.broken or self.failed,
        }

    def _run(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            try:
                with self._lock:
                    for name, watch in self._watches.items():
                        self.lanes[name] = watch.look()
                    self.looks += 1
                    self._tour.look(list(self.lanes.values()))
            except Exception as error:  # noqa: BLE001 - the page says so, and the runs go on
                self.failed = f"the live picture could not be made: {type(error).__name__}: {error}"


def _head(drawn: Numbers, keys: Collection[str]) -> Mapping[str, Any]:
    """A lane without its notifications, which are told only when they change, and their anomalies with them."""
    recent = drawn["violations"][-RECENT:]
    changed = [one for one in drawn["violations"][:-RECENT] if one["op"].rpartition("/")[0] in keys]
    few = {"faults": drawn["faults"][-RECENT:], "violations": [*changed, *recent]}
    return {**{name: value for name, value in drawn.items() if name != "notes"}, **few}


class SameOrigin(BaseHTTPMiddleware):
    """Refuses names that are not loopback's, and requests to change something that come from another page."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        host = request.headers.get("host", "")
        if (urlsplit(f"//{host}").hostname or "") not in {name.strip("[]") for name in LOOPBACK}:
            return PlainTextResponse("This page is served on loopback only: use http://127.0.0.1.\n", 421)
        origin = request.headers.get("origin")
        if request.method not in {"GET", "HEAD"} and origin != f"http://{host}":
            return PlainTextResponse("Only the demo's own page may do that.\n", 403)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response


def application(
    live: DemoSession,
    watcher: LiveStream,
    tour: Tour,
    *,
    save_runs: Callable[[], Mapping[str, Any]],
    flower_url: str,
    ending: threading.Event,
) -> Starlette:
    """The demo's web application.

    save_runs: keeps what happened so far, and says where. flower_url: empty when there is none.
    ending: set when open streams have to end.
    """
    saving = threading.Lock()

    async def page(_request: Request) -> Response:
        return FileResponse(ASSETS / "demo.html")

    async def asset(request: Request) -> Response:
        path = SERVED.get(request.path_params["name"])
        return FileResponse(path) if path else PlainTextResponse("There is no such file.\n", 404)

    async def about(_request: Request) -> Response:
        scenes = [
            {
                key: getattr(scene, key)
                for key in ("name", "title", "what", "goal", "button", "lesson", "clause", "again")
            }
            for scene in SCENES
        ]
        return JSONResponse({"scenes": scenes, "flower": flower_url, "designs": list(live.runs)})

    async def stream(request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            seen = 0
            while not ending.is_set() and not await request.is_disconnected():
                if watcher.looks > seen:
                    told = await run_in_threadpool(watcher.told, seen)
                    seen = told["look"]
                    yield f"data: {json.dumps(told, separators=(',', ':'))}\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def command(request: Request) -> Response:
        try:
            asked = await request.json()
            do = _parse_command(live, tour, asked)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": f"not understood: {type(error).__name__} {error}"}, 400)
        try:
            return JSONResponse({"done": await run_in_threadpool(do)})
        except DuetimeError as error:
            return JSONResponse({"error": str(error)}, 409)

    async def save(_request: Request) -> Response:
        if not saving.acquire(blocking=False):
            return JSONResponse({"error": "it is being saved already"}, 409)
        try:
            kept = await run_in_threadpool(save_runs)
        except DuetimeError as error:
            return JSONResponse({"error": str(error)}, 409)
        finally:
            saving.release()
        return JSONResponse(kept)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/assets/{name}", asset),
            Route("/about", about),
            Route("/stream", stream),
            Route("/command", command, methods=["POST"]),
            Route("/save", save, methods=["POST"]),
        ],
        middleware=[Middleware(SameOrigin)],
    )


def _parse_command(live: DemoSession, tour: Tour, asked: Mapping[str, Any]) -> Callable[[], object]:
    """What the viewer wants, checked and not done yet.

    Raises:
        ValueError, KeyError, TypeError: it is none of the things that can be wanted.
    """
    match asked["what"]:
        case "do":
            kind, target = asked["kind"], str(asked["target"])
            return lambda: live.do(kind, target)
        case "undo":
            fault = str(asked["fault"])
            return lambda: live.undo(fault)
        case "undo_all":
            return live.undo_all
        case "schedule":
            in_s, people = _within(asked["in_s"], 0.5, 60), int(_within(asked["people"], 1, 50))
            return lambda: live.schedule(in_s=in_s, people=people)
        case "move":
            event, by_s = int(asked["event"]), _within(asked["by_s"], -30, 60)
            return lambda: live.move(event, by_s=by_s)
        case "cancel":
            cancelled = int(asked["event"])
            return lambda: live.cancel(cancelled)
        case "traffic":
            a_second = _within(asked["a_second"], 0, 100)
            return lambda: setattr(live.traffic, "a_second", a_second)
        case "scene":
            name = str(asked["name"])
            return lambda: tour.play(name)
        case _:
            raise ValueError(f"{asked['what']!r}")


def _within(value: object, least: float, most: float) -> float:
    number = float(value)  # type: ignore[arg-type]  # raises what the caller catches
    if not least <= number <= most:
        raise ValueError(f"{number:g} is not between {least:g} and {most:g}")
    return number
