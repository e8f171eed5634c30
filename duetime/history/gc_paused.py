"""Leaving the garbage collector out of it: histories have no cycles, and looking for some in millions takes long."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def gc_paused(work: Callable[P, T]) -> Callable[P, T]:
    """`work`, during which nobody looks for cycles."""

    @wraps(work)
    def quietly(*args: P.args, **kwargs: P.kwargs) -> T:
        collects = gc.isenabled()
        gc.disable()
        try:
            return work(*args, **kwargs)
        finally:
            if collects:
                gc.enable()

    return quietly
