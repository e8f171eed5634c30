"""Answer ``duetime lint LIBRARY`` and ``duetime lint LIBRARY:MODULE:OBJECT``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duetime.errors import BadUsage
from duetime.lint.durations import duration
from duetime.lint.finding import Finding
from duetime.lint.libraries.declaration import Found, Library, Limits
from duetime.lint.libraries.given import given, of_command
from duetime.lint.libraries.judge import judge
from duetime.lint.libraries.load import read_file
from duetime.lint.request import ask


def lint(library: Library, request: Mapping[str, Any]) -> list[Finding]:
    """Return the findings about the one target of `request`, which begins with the name of `library`.

    Raises:
        BadUsage: an argument is wrong, or what it names cannot be read.
    """
    target, *others = request["targets"]
    if others:
        raise BadUsage(f"{target}, {', '.join(others)}: write one target if it begins with the name of a library")
    limits = Limits(
        lateness=_seconds(request, "lateness"),
        punctual_to=_seconds(request, "punctual_to"),
        horizon=_seconds(request, "horizon"),
        grace=_seconds(request, "grace") if request["grace"] is not None else None,
    )
    chosen = given(library, request["set"])
    in_commands = [of_command(library, line) for line in request["workers"]]
    found = _found(library, target, request)
    one_has = {
        setting.name: True
        for setting in library.settings
        if setting.one_suffices and any(each.given.get(setting.name) for each in in_commands)
    }
    values = [{**each.left_out, **found.values, **each.given, **one_has} for each in in_commands]
    return judge(library, found, chosen, limits, target=target, commands=values)


def _found(library: Library, target: str, request: Mapping[str, Any]) -> Found:
    """Return what the target has: the defaults, if it is the library alone."""
    _, colon, source = target.partition(":")
    if target.endswith(":"):  # as the shell leaves it for a variable without a value
        raise BadUsage(
            f"{target!r}: nothing follows the last colon; write {library.name}:MODULE:OBJECT, or {library.name} alone "
            "for its defaults"
        )
    if not colon:
        return Found(values=library.defaults())
    if library.suffix and source.endswith(library.suffix):
        return read_file(library, target)
    if library.read is None:
        known = f", {library.name}:FILE{library.suffix}" if library.suffix else ""
        raise BadUsage(
            f"{target!r}: {library.title} has no object to read; write {library.name}{known}, and --set NAME=VALUE"
        )
    return Found(**ask({**request, "library": library.name}))


def _seconds(request: Mapping[str, Any], name: str) -> float:
    return duration(f"--{name.replace('_', '-')}", request[name]).total_seconds()
