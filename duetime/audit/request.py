"""One audit, from its sources to its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from duetime.audit.columns import Wanted
from duetime.audit.judge import Data, Judge
from duetime.audit.keys import Revisions, by_key
from duetime.audit.partitions import PARTITIONS, Partitions
from duetime.audit.report import Report, SourceCount
from duetime.audit.rows import BadRows, Delivered, Promised, Reader
from duetime.audit.sources import READERS, Source, open_file
from duetime.audit.tally import Tally
from duetime.audit.terms import Terms
from duetime.audit.times import Instants, shown
from duetime.audit.wording import Witness
from duetime.errors import BadUsage
from duetime.history.gc_paused import gc_paused

FUTURE_NS = 60 * 1_000_000_000
"""A delivery that is further ahead of this clock is an error in the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to audit, and how.

    promised, delivered: each a file, a file that ends in .sql, or a query. database, delivered_database: for queries.
    rename: applied to each key. skip_bad_rows: count them instead of refusing the source. examples: shown of each kind.
    """

    promised: str
    delivered: str
    promised_wanted: Wanted
    delivered_wanted: Wanted
    terms: Terms
    instants: Instants
    database: str = ""
    delivered_database: str = ""
    statement_timeout_ms: int = 600_000
    rename: Callable[[str], str] | None = None
    skip_bad_rows: bool = False
    examples: int = 5


def audit(request: Request) -> Report:
    """Read both sources once, judge them key by key, and report.

    The rows are kept in a temporary directory meanwhile, which only this user can read.

    Raises:
        BadUsage: a source cannot be read, or has bad rows.
    """
    with TemporaryDirectory(prefix="duetime-audit-") as name, ExitStack() as stack:
        directory = Path(name)
        sources = _open(request, stack)
        promised = _Stored(sources[0], Partitions(directory / "promised"))
        delivered = _Stored(sources[1], Partitions(directory / "delivered"))
        reader = Reader(request.instants, request.rename)
        window = _Window()
        promised.write(reader.promised(promised.source, promised.bad))
        delivered.write(window.seen(reader.delivered(delivered.source, delivered.bad)))
        stack.close()  # A transaction that stays open keeps the server from vacuuming.
        if not request.skip_bad_rows:
            both = BadRows(named=[*promised.bad.named, *delivered.bad.named])
            both.number = promised.bad.number + delivered.bad.number
            both.refuse()
        return _judge(request, promised, delivered, window)


@dataclass(slots=True)
class _Stored:
    """One source, and its rows on disk."""

    source: Source
    partitions: Partitions
    bad: BadRows
    rows: int

    def __init__(self, source: Source, partitions: Partitions) -> None:
        self.source, self.partitions, self.bad, self.rows = source, partitions, BadRows(), 0

    def write(self, rows: Iterable[tuple[object, ...]]) -> None:
        self.rows = self.partitions.write(rows)

    def counted(self) -> SourceCount:
        return SourceCount(self.source.name, dict(self.source.columns), self.rows, self.bad.number, self.bad.named)


class _Window:
    """The first and the last delivery."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns = 0

    def seen(self, rows: Iterable[Delivered]) -> Iterator[Delivered]:
        first_ns, last_ns = 1 << 63, 0
        for row in rows:
            at_ns = row.at_ns
            if at_ns < first_ns:
                first_ns = at_ns
            if at_ns > last_ns:
                last_ns = at_ns
            yield row
        if last_ns:
            self.first_ns, self.last_ns = first_ns, last_ns

    def of(self, terms: Terms, promised: Source, delivered: Source) -> tuple[int, int]:
        """From when to when the data is complete, by the options or else by the deliveries and the snapshots.

        Raises:
            BadUsage: a delivery is in the future.
        """
        now_ns = time.time_ns()  # not duetime.clock: only a bound for clocks that are wrong
        if self.last_ns > now_ns + FUTURE_NS + terms.clock_tolerance_ns:
            raise BadUsage(
                f"the last delivery of {delivered.name} is at {shown(self.last_ns)}, and it is {shown(now_ns)}: "
                "correct the times, or raise --clock-tolerance by what the clocks differ"
            )
        from_ns = terms.from_ns if terms.from_ns is not None else self.first_ns
        to_ns = terms.to_ns
        if to_ns is None:
            # A query sees all that was committed before it. Later cancels are missing from the promises.
            snapshots = [one.complete_until_ns for one in (promised, delivered) if one.complete_until_ns is not None]
            ends = [seen_ns - terms.clock_tolerance_ns for seen_ns in snapshots]
            if delivered.complete_until_ns is None:
                # A worker's clock may be ahead of ours.
                ends += [self.last_ns, now_ns]
            to_ns = min(ends)
        return (to_ns if from_ns is None else from_ns), to_ns


@gc_paused
def _judge(request: Request, promised: _Stored, delivered: _Stored, window: _Window) -> Report:
    terms = request.terms
    from_ns, to_ns = window.of(terms, promised.source, delivered.source)
    data = Data(
        revisions=Revisions("revision" in promised.source.columns, "revision" in delivered.source.columns),
        cancels="cancelled_at" in promised.source.columns,
        bad_promised=promised.bad,
        bad_delivered=delivered.bad,
        from_ns=from_ns,
        to_ns=to_ns,
        is_first=terms.from_ns is None and delivered.rows > 0,
        is_last=terms.to_ns is None and delivered.rows > 0 and delivered.source.complete_until_ns is None,
        now_ns=time.time_ns(),
    )
    tally = Tally(keep=request.examples)
    zone = request.instants.zone
    judge = Judge(terms, data, tally, Witness(terms, promised.source.name, delivered.source.name, zone, to_ns))
    for number in range(PARTITIONS):
        promises = (Promised._make(row) for row in promised.partitions.read(number))
        deliveries = (Delivered._make(row) for row in delivered.partitions.read(number))
        judge.judge(by_key(promises, deliveries, revisions=data.revisions, clock_tolerance_ns=terms.clock_tolerance_ns))
    return Report(
        promised=promised.counted(),
        delivered=delivered.counted(),
        terms=terms,
        zone=zone,
        from_ns=from_ns,
        to_ns=to_ns,
        tally=tally,
    )


def _open(request: Request, stack: ExitStack) -> tuple[Source, Source]:
    """Open both sources; two queries of one database see the same snapshot."""
    opened = {}

    def source(text: str, wanted: Wanted, url: str) -> Source:
        query = _query(text, wanted)
        if not query:
            return stack.enter_context(open_file(Path(text), wanted))
        if not url:
            raise BadUsage(f"--{wanted.what} is a query; name its database with --database postgresql://…")
        from duetime.audit.queries import Database

        if url not in opened:
            end_known = request.terms.to_ns is not None
            opened[url] = Database(url, statement_timeout_ms=request.statement_timeout_ms, end_known=end_known)
            stack.callback(opened[url].close)
        return opened[url].query(query, wanted)

    # Of two databases, the newer snapshot must be of the promises: each delivery then has its promise in the data.
    delivered = source(request.delivered, request.delivered_wanted, request.delivered_database or request.database)
    return source(request.promised, request.promised_wanted, request.database), delivered


def _query(text: str, wanted: Wanted) -> str:
    """Return the query of a source; empty if it is a file with rows."""
    path = Path(text)
    if path.suffix.lower() == ".sql":
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadUsage(f"--{wanted.what}: {text}: cannot be read ({error})") from error
    is_file = path.suffix.lower() in READERS and "\n" not in text
    return "" if is_file or " " not in text.strip() else text
