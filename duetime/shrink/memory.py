"""What is known of earlier runs: a file beside them, so that an interrupted command continues where it stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duetime.runtime.jsonl import append_once, complete_records
from duetime.shrink.kinds import Kind, Observed

FILE = "runs.jsonl"


class StoredRuns:
    """The kinds of violations that each run showed, by the hash of its plan, kept in `directory`.

    made_with: what decides how a run goes; the runs of something else are forgotten.
    """

    def __init__(self, directory: Path, made_with: Mapping[str, Any]) -> None:
        self._file = directory / FILE
        self._seen: dict[str, list[Observed]] = defaultdict(list)
        records = self._read()
        if records[:1] != [made_with]:
            self._file.unlink(missing_ok=True)
            append_once(self._file, made_with)
            return
        for record in records[1:]:
            self._seen[record["plan"]].append(_observed(record["shown"]))

    def of(self, plan_hash: str) -> Sequence[Observed]:
        return self._seen.get(plan_hash, ())

    def add(self, plan_hash: str, seen: Observed) -> None:
        shown = None if seen is None else [asdict(kind) for kind in seen]
        append_once(self._file, {"plan": plan_hash, "shown": shown})
        self._seen[plan_hash].append(seen)

    def _read(self) -> list[dict[str, Any]]:
        with suppress(OSError, ValueError):
            return complete_records(self._file)
        return []


def _observed(shown: Sequence[Mapping[str, Any]] | None) -> Observed:
    return None if shown is None else frozenset(Kind(**kind) for kind in shown)
