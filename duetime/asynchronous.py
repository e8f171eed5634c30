"""Calls libraries whose clients are asynchronous from ``schedule()``, which is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

_ANSWER_S = 10.0

_T = TypeVar("_T")


def run_to_end(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never waits, because what it awaits is synchronous, such as the caller's connection.

    Raises:
        RuntimeError: it waits for something else.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for something else than the caller's connection; use LoopThread")


class LoopThread:
    """An event loop in a thread, for a client that keeps connections: make and use it in this loop only."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a client process may end without closing it.
        self._thread = threading.Thread(target=self._loop.run_forever, name="asynchronous", daemon=True)
        self._thread.start()

    def run(self, awaitable: Awaitable[_T], *, within_s: float = _ANSWER_S) -> _T:
        """Await `awaitable`, usually a coroutine, in the loop and return its result.

        Raises:
            TimeoutError: it took longer than `within_s`, and was cancelled. The outcome is unknown.
        """
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(awaitable, within_s), self._loop).result()

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""

        async def cancel_others() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
