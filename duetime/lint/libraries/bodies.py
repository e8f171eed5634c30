"""What the body of a function uses, without calling it."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any


def uses(function: Any, name: str) -> bool:
    """Return True if `function` uses `name`, or a function that it wraps, contains or calls by its name does."""
    return any(name in code.co_names for code in _codes(function, set()))


def _codes(thing: Any, seen: set[int]) -> Iterator[CodeType]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, CodeType):
        yield thing
        for constant in thing.co_consts:
            yield from _codes(constant, seen)
    elif isinstance(thing, FunctionType):
        yield from _codes(thing.__code__, seen)
        for cell in thing.__closure__ or ():
            yield from _codes(_contents(cell), seen)
        for used in thing.__code__.co_names:
            yield from _codes(thing.__globals__.get(used), seen)
    elif wrapped := getattr(thing, "__func__", None):
        yield from _codes(wrapped, seen)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not filled yet
        return None
