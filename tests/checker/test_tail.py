"""Read a growing file incrementally, or from its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from duetime.history import tail
from duetime.history.tail import Tail, backwards


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "lines.jsonl").touch()
    return tmp_path / "lines.jsonl"


def numbers(records: Sequence[object]) -> list[object]:
    return [record["n"] for record in records]  # type: ignore[index]  # JSON objects


def test_a_read_returns_the_lines_added_since_the_last_one(path: Path) -> None:
    grown = Tail(path)
    append(path, '{"n":1}\n{"n":2}\n')
    assert list(grown.read()) == [(1, {"n": 1}), (2, {"n": 2})]
    assert not list(grown.read())

    append(path, '{"n":3}\n')

    assert list(grown.read()) == [(3, {"n": 3})]


def test_an_incomplete_line_is_returned_once_it_is_complete(path: Path) -> None:
    grown = Tail(path)
    append(path, '{"n":1}\n{"n":')
    assert list(grown.read()) == [(1, {"n": 1})]

    append(path, "2}\n")

    assert list(grown.read()) == [(2, {"n": 2})]


def test_lines_not_consumed_by_a_read_are_returned_by_the_next(path: Path) -> None:
    grown = Tail(path)
    append(path, '{"n":1}\n{"n":2}\n')

    assert next(iter(grown.read())) == (1, {"n": 1})
    assert list(grown.read()) == [(2, {"n": 2})]


@pytest.mark.parametrize("block", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("being_written", ["", '{"n":'])
def test_backwards_returns_the_last_complete_line_first(
    path: Path, monkeypatch: pytest.MonkeyPatch, block: int, being_written: str
) -> None:
    monkeypatch.setattr(tail, "BLOCK", block)
    append(path, "".join(json.dumps({"n": n}) + "\n" for n in range(20)) + being_written)

    assert numbers(list(backwards(path))) == list(reversed(range(20)))


@pytest.mark.parametrize("text", ["", '{"n":'])
def test_backwards_returns_nothing_without_a_complete_line(path: Path, text: str) -> None:
    append(path, text)

    assert not list(backwards(path))
