"""Commands from the page: JSON such as ``{"command": "inject", "kind": "kill", "target": "all"}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from duetime.demo.session import DemoSession
from duetime.demo.tour import Tour


def parse_command(session: DemoSession, tour: Tour, message: Mapping[str, Any]) -> Callable[[], object]:
    """Check a command, and return a function that carries it out.

    Raises:
        ValueError, KeyError, TypeError: it is not a command.
    """
    match message["command"]:
        case "inject":
            kind, target = message["kind"], str(message["target"])
            return lambda: session.inject_fault(kind, target)
        case "heal":
            fault = str(message["fault"])
            return lambda: session.heal_fault(fault)
        case "heal_all":
            return session.heal_all
        case "schedule":
            in_s, people = _between(message["in_s"], 0.5, 60), int(_between(message["people"], 1, 50))
            return lambda: session.schedule(in_s=in_s, people=people)
        case "move":
            event, by_s = int(message["event"]), _between(message["by_s"], -30, 60)
            return lambda: session.move(event, by_s=by_s)
        case "cancel":
            cancelled = int(message["event"])
            return lambda: session.cancel(cancelled)
        case "traffic":
            per_second = _between(message["per_second"], 0, 100)
            return lambda: setattr(session.traffic, "per_second", per_second)
        case "scene":
            name = str(message["name"])
            return lambda: tour.play(name)
        case unknown:
            raise ValueError(f"{unknown!r}")


def _between(value: object, least: float, most: float) -> float:
    number = float(value)  # type: ignore[arg-type]  # raises what the caller catches
    if not least <= number <= most:
        raise ValueError(f"{number:g} is not between {least:g} and {most:g}")
    return number
