"""Durations are added to instants in UTC only, in the application, the designs and the examples.

The guard goes by names, those of annotated datetimes and of columns; it does not see a datetime with another name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("duetime/app", "pull_worker", "push_readmodel", "oban_style_queue", "examples")
IN_UTC = {"now"}
"""The reading of a ``Clock``, which is in UTC."""

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def instant_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that `tree` annotates as a datetime, and those of its DateTime columns."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.arg(arg=name, annotation=annotation)
                | ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
            ) if annotation and "datetime" in words(annotation):
                yield name
            case ast.Call(func=ast.Name(id="Column"), args=[ast.Constant(value=str(name)), kind, *_]) if (
                "DateTime" in words(kind)
            ):
                yield name


def words(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def arithmetic(tree: ast.AST, names: set[str], converted: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield each sum or difference with an instant that is not converted in it, or earlier in the same function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Assign) and is_in_utc(node.value):
            converted |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            for operand in (node.left, node.right):
                match operand:
                    case ast.Attribute(value=ast.Attribute(attr="c")) if operand is node.right:
                        # In SQL a difference of two instants is exact; a sum with days is not.
                        pass
                    case ast.Attribute(attr=name) if name in names:
                        yield f"line {node.lineno}: {ast.unparse(node)}"
                    case ast.Name(id=name) if name in names - converted:
                        yield f"line {node.lineno}: {ast.unparse(node)}"
        yield from arithmetic(node, names, converted)


def is_in_utc(value: ast.expr) -> bool:
    """Return True for ``utc(…)``, and for a sum or difference that begins with it."""
    while isinstance(value, ast.BinOp):
        value = value.left
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "utc"


NAMES = {name for path in FILES for name in instant_names(ast.parse(path.read_text()))} - IN_UTC


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_duration_is_added_to_an_instant_outside_utc(path: Path) -> None:
    found = list(arithmetic(ast.parse(path.read_text()), NAMES))

    assert found == [], f"write utc(…) of duetime.clock around the instant: {found}"


@pytest.mark.parametrize(
    "line", ["event.starts_at - lead", "since + microsecond", "row.purchased_at + days", "a.ends_at - utc(b.starts_at)"]
)
def test_the_guard_finds_it(line: str) -> None:
    assert list(arithmetic(ast.parse(line), NAMES)) == [f"line 1: {line}"]
    assert list(arithmetic(ast.parse("utc(event.starts_at) - lead"), NAMES)) == []
