"""The clients' lines, paired: each invocation with its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from duetime.history.damage import Damage
from duetime.history.records import MALFORMED, Answer, Operation, Verb, whole

HISTORY = "history.jsonl"
VERBS: Mapping[str, Verb] = {verb: verb for verb in get_args(Verb)}
ANSWERS: Mapping[str, Answer] = {answer: answer for answer in get_args(Answer)}
"""Each word once: as read from the lines there would be a million of them."""


def pair(lines: Iterable[tuple[int, Any]], damage: Damage) -> dict[str, Operation]:
    """Operations by op, in the order of their invocations.

    A line that cannot be understood, or that a client must have written and is not there, is damage; the operation
    it may have spoken of keeps the weaker reading, ``info``.
    """
    operations: dict[str, Operation] = {}
    next_i: dict[Any, int] = {}
    for line, record in lines:
        try:
            _count(line, record, next_i, damage)
            if record["type"] == "invoke":
                _invoke(line, record, operations)
            else:
                _answer(line, record, operations)
        except MALFORMED as error:
            damage.lacks(HISTORY, f" line {line} cannot be used: {_reason(error)}")
    return operations


def _count(line: int, record: Mapping[str, Any], next_i: dict[Any, int], damage: Damage) -> None:
    client, i = record["client"], whole(record["i"])
    expected = next_i.get(client, 0)
    if i != expected:
        damage.lacks(HISTORY, f" line {line}: client {client} wrote i={i} where i={expected} was next")
    next_i[client] = i + 1


def _invoke(line: int, record: Mapping[str, Any], operations: dict[str, Operation]) -> None:
    op, key, revision, verb = record["op"], record["key"], whole(record["revision"]), VERBS.get(record["f"])
    if op != f"{key}/{revision}":
        raise ValueError(f"op {op!r} is not key {key!r} and revision {revision}")
    if verb is None:
        raise ValueError(f"{record['f']!r} is neither schedule nor cancel")
    due_ns = whole(record["due_ns"]) if verb == "schedule" else 0
    again = operations.get(op)
    if again is not None:
        _doubt(again, due_ns=due_ns, invoked_ns=whole(record["at_ns"]))
        raise ValueError(f"{op} is invoked a second time")
    operations[op] = Operation(op, key, revision, verb, due_ns, whole(record["at_ns"]), line)


def _answer(line: int, record: Mapping[str, Any], operations: dict[str, Operation]) -> None:
    answer, at_ns = ANSWERS.get(record["type"]), whole(record["at_ns"])
    if answer is None:
        raise ValueError(f"type {record['type']!r} is none of invoke, ok, fail, info")
    operation = operations.get(record["op"])
    if operation is None:
        raise ValueError(f"{record['op']!r} is answered but was never invoked")
    if operation.answered_line:
        _doubt(operation)
        raise ValueError(f"{operation.op} is answered a second time")
    if at_ns < operation.invoked_ns:
        raise ValueError(f"{operation.op} is answered before it was invoked")
    operation.answer, operation.answered_ns, operation.answered_line = answer, at_ns, line


def _doubt(operation: Operation, *, due_ns: int | None = None, invoked_ns: int | None = None) -> None:
    """Two lines contradict each other about `operation`: believe whatever accuses nobody."""
    operation.answer = "info"
    operation.answered_line = operation.answered_line or operation.line
    if due_ns is not None and invoked_ns is not None:
        operation.due_ns = min(operation.due_ns, due_ns)
        operation.invoked_ns = min(operation.invoked_ns, invoked_ns)


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
