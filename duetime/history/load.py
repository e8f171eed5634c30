"""Load a run directory, and find damage to its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duetime.errors import NotARun
from duetime.history.assemble import DELIVERIES, FAULTS, FILES, History, assemble
from duetime.history.damage import Damage
from duetime.history.digest import line_count_and_sha256
from duetime.history.format import FORMAT, OLDEST, upgraded
from duetime.history.gc_paused import gc_paused
from duetime.history.pairing import HISTORY
from duetime.history.parse import parse_line
from duetime.history.records import MALFORMED, Closed, RecordedPlan


@gc_paused
def load(run_dir: Path) -> History:
    """Load `run_dir`; damage to a file other than plan.json becomes part of the history.

    Raises:
        NotARun: `run_dir` is not a directory, or its plan.json is missing or malformed.
    """
    plan = _plan(run_dir)
    damage = Damage()
    closed = _closed(run_dir, damage)
    lines = {file: _records(run_dir / file, damage) for file in FILES if _exists(run_dir / file, plan, damage)}
    return assemble(plan, lines=lines, closed=closed, damage=damage)


def _plan(run_dir: Path) -> RecordedPlan:
    if not run_dir.is_dir():
        raise NotARun(f"{run_dir} is not a directory; give the directory of one run, which holds plan.json.")
    path = run_dir / "plan.json"
    try:
        plan = json.loads(path.read_bytes())
        if plan["format"] not in range(OLDEST, FORMAT + 1):
            raise NotARun(f"{path} is in format {plan['format']!r}; this duetime reads formats {OLDEST} to {FORMAT}.")
        return RecordedPlan.from_json(upgraded(plan))
    except OSError as error:
        raise NotARun(f"{run_dir} holds no readable plan.json ({error.strerror}); is it a run directory?") from error
    except (*MALFORMED, RecursionError) as error:
        raise NotARun(f"{path} is not a plan: {type(error).__name__} {error}.") from error


def _closed(run_dir: Path, damage: Damage) -> Closed | None:
    path = run_dir / "closed.json"
    try:
        written = json.loads(path.read_bytes())
        closed = Closed.from_json(written)
        _compare(run_dir, written, damage)
    except FileNotFoundError:
        return None
    except (*MALFORMED, OSError, RecursionError) as error:
        damage.add_incomplete("closed.json", f" cannot be used: {type(error).__name__} {error}")
        return None
    return closed


def _compare(run_dir: Path, closed: dict[str, Any], damage: Damage) -> None:
    """Compare the files with the counts and digests that closed.json recorded.

    A file with fewer lines was truncated, and the rest of it is genuine; any other difference may be anywhere in it.
    """
    lines, digests = closed.get("lines", {}), closed.get("sha256", {})
    for file in sorted({*lines, *digests}):
        path = run_dir / file
        if Path(file).name != file or not path.is_file():
            damage.add_incomplete(file, " was there when the run was closed and is missing now")
            continue
        count, digest = line_count_and_sha256(path)
        if digest == digests.get(file, digest) and count == lines.get(file, count):
            continue
        if count < lines.get(file, 0):
            damage.add_incomplete(file, f" has {count} lines, and had {lines[file]} when the run was closed")
        else:
            damage.add_altered(file, f" was altered after the run was closed (SHA-256 {digest[:12]}…)")


def _exists(path: Path, plan: RecordedPlan, damage: Damage) -> bool:
    if path.is_file():
        return True
    if path.name in (HISTORY, DELIVERIES) or (path.name == FAULTS and plan.faults):
        damage.add_incomplete(path.name, " is missing")
    return False


def _records(path: Path, damage: Damage) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if not line.endswith(b"\n"):
                    damage.add_incomplete(path.name, f" line {number} is torn: the file ends in the middle of it")
                else:
                    yield number, parse_line(line.decode())
            except (ValueError, RecursionError):
                damage.add_incomplete(path.name, f" line {number} is not JSON")
