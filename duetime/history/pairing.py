"""Pair each invocation in history.jsonl with its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from duetime.history.damage import Damage
from duetime.history.records import MALFORMED, Answer, Operation, Verb, require_int

HISTORY = "history.jsonl"
VERBS: Mapping[str, Verb] = {verb: verb for verb in get_args(Verb)}
ANSWERS: Mapping[str, Answer] = {answer: answer for answer in get_args(Answer)}
"""Shared strings, because a large run has a million of each."""


def pair(lines: Iterable[tuple[int, Any]], damage: Damage) -> dict[str, Operation]:
    """Operations by op, in the order of their invocations.

    A malformed line, or a gap in a client's numbering, is damage. An operation whose answer is lost stays ``info``.
    """
    operations: dict[str, Operation] = {}
    next_i: dict[Any, int] = {}
    for line, record in lines:
        try:
            _check_count(line, record, next_i, damage)
            if record["type"] == "invoke":
                _invoke(line, record, operations)
            else:
                _answer(line, record, operations)
        except MALFORMED as error:
            damage.add_incomplete(HISTORY, f" line {line} cannot be used: {_reason(error)}")
    return operations


def _check_count(line: int, record: Mapping[str, Any], next_i: dict[Any, int], damage: Damage) -> None:
    client, i = record["client"], require_int(record["i"])
    expected = next_i.get(client, 0)
    if i != expected:
        damage.add_incomplete(HISTORY, f" line {line}: client {client} wrote i={i} where i={expected} was next")
    next_i[client] = i + 1


def _invoke(line: int, record: Mapping[str, Any], operations: dict[str, Operation]) -> None:
    op, key, revision, verb = record["op"], record["key"], require_int(record["revision"]), VERBS.get(record["f"])
    if op != f"{key}/{revision}":
        raise ValueError(f"op {op!r} is not key {key!r} and revision {revision}")
    if verb is None:
        raise ValueError(f"{record['f']!r} is neither schedule nor cancel")
    due_ns = require_int(record["due_ns"]) if verb == "schedule" else 0
    existing = operations.get(op)
    if existing is not None:
        _contradict(existing, due_ns=due_ns, invoked_ns=require_int(record["at_ns"]))
        raise ValueError(f"{op} is invoked a second time")
    operations[op] = Operation(op, key, revision, verb, due_ns, require_int(record["at_ns"]), line)


def _answer(line: int, record: Mapping[str, Any], operations: dict[str, Operation]) -> None:
    answer, at_ns = ANSWERS.get(record["type"]), require_int(record["at_ns"])
    if answer is None:
        raise ValueError(f"type {record['type']!r} is none of invoke, ok, fail, info")
    operation = operations.get(record["op"])
    if operation is None:
        raise ValueError(f"{record['op']!r} is answered but was never invoked")
    if operation.answered_line:
        _contradict(operation)
        raise ValueError(f"{operation.op} is answered a second time")
    if at_ns < operation.invoked_ns:
        raise ValueError(f"{operation.op} is answered before it was invoked")
    operation.answer, operation.answered_ns, operation.answered_line = answer, at_ns, line


def _contradict(operation: Operation, *, due_ns: int | None = None, invoked_ns: int | None = None) -> None:
    """On contradictory lines, keep the reading without a violation: ``info``, and the earlier times."""
    operation.answer = "info"
    operation.answered_line = operation.answered_line or operation.line
    if due_ns is not None and invoked_ns is not None:
        operation.due_ns = min(operation.due_ns, due_ns)
        operation.invoked_ns = min(operation.invoked_ns, invoked_ns)


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
