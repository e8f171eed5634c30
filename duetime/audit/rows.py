"""Rows of both sources, checked and in nanoseconds."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from duetime.audit.sources import Source
from duetime.audit.times import Instants
from duetime.errors import BadUsage

NAMED_BAD_ROWS: Final = 10
"""An error names so many bad rows, so that one export can be corrected at once."""
TAINTED_KEYS: Final = 100_000
"""With more bad rows than this, every key counts as one with a bad row."""


class Promised(NamedTuple):
    """One row of what was promised. due_ns: None for a row that only cancels its key."""

    key: str
    revision: int | None
    due_ns: int | None
    accepted_ns: int | None
    cancelled_ns: int | None
    line: int


class Delivered(NamedTuple):
    """One row of what was delivered."""

    key: str
    revision: int | None
    at_ns: int
    line: int


@dataclass(slots=True)
class BadRows:
    """The rows of one source that were skipped.

    keys: of those whose key can be read. all_keys: True if a row may be of any key.
    """

    number: int = 0
    keys: set[str] = field(default_factory=set)
    all_keys: bool = False
    named: list[str] = field(default_factory=list)

    def add(self, where: str, reason: str, key: str | None) -> None:
        self.number += 1
        if len(self.named) < NAMED_BAD_ROWS:
            self.named.append(f"{where}: {reason}")
        if key is None or len(self.keys) >= TAINTED_KEYS:
            self.all_keys = True
        else:
            self.keys.add(key)

    def concern(self, key: str) -> bool:
        return self.all_keys or key in self.keys

    def refuse(self) -> None:
        """Raises: BadUsage: there is a bad row."""
        if self.number:
            more = f"\n  and {self.number - len(self.named)} more" if self.number > len(self.named) else ""
            raise BadUsage(
                f"{self.number} bad {'row' if self.number == 1 else 'rows'}; correct the export, or skip and count "
                "them with --skip-bad-rows:\n  " + "\n  ".join(self.named) + more
            )


def key_hash(salt: bytes) -> Callable[[str], str]:
    """Return a keyed hash of keys: the same key gives the same 20 digits under one salt, and another under another."""

    def hashed(key: str) -> str:
        return hmac.digest(salt, key.encode("utf-8", "surrogatepass"), "sha256").hex()[:20]

    return hashed


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns the values of a source into rows. rename: applied to each key before anything else sees it."""

    instants: Instants
    rename: Callable[[str], str] | None = None

    def promised(self, source: Source, bad: BadRows) -> Iterator[Promised]:
        return self._read(source, bad, self._promise)

    def delivered(self, source: Source, bad: BadRows) -> Iterator[Delivered]:
        return self._read(source, bad, self._delivered)

    def _read(self, source: Source, bad: BadRows, make: Callable[..., Any]) -> Iterator[Any]:
        revisions = "revision" in source.columns
        for line, values in source.rows:
            key = None
            try:
                if isinstance(values, ValueError):
                    raise values
                key = _key(values[0])
                if self.rename:
                    key = self.rename(key)
                yield make(key, _revision(values[1]) if revisions else None, values, line)
            except (ValueError, OverflowError) as error:
                bad.add(f"{source.name}:{line}", str(error), key)

    def _promise(self, key: str, revision: int | None, values: Sequence[Any], line: int) -> Promised:
        _, _, due, accepted, cancelled = values
        due_ns = self._optional("due", due)
        accepted_ns, cancelled_ns = self._optional("accepted_at", accepted), self._optional("cancelled_at", cancelled)
        if due_ns is None and cancelled_ns is None:
            raise ValueError("due is empty; a row needs a due time, or else a cancelled time")
        return Promised(key, revision, due_ns, accepted_ns, cancelled_ns, line)

    def _delivered(self, key: str, revision: int | None, values: Sequence[Any], line: int) -> Delivered:
        at_ns = self._optional("at", values[2])
        if at_ns is None:
            raise ValueError("at is empty; leave out what was not delivered")
        return Delivered(key, revision, at_ns, line)

    def _optional(self, name: str, value: object) -> int | None:
        if value is None or value == "":
            return None
        try:
            return self.instants.read(value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} {error}") from None


def _key(value: object) -> str:
    if value is None or value == "":
        raise ValueError("key is empty")
    key = value if isinstance(value, str) else str(value)
    try:
        key.isascii() or key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"key {key!r} is no text (half of a surrogate pair)") from None
    return key


def _revision(value: object) -> int:
    try:
        number = int(value) if isinstance(value, str | int) else int(str(value))
    except ValueError:
        raise ValueError(
            f"revision {value!r} is no whole number; number the revisions, or ignore the column with revision="
        ) from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"revision {number} does not fit into 64 bits")
    return number
