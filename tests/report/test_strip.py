"""A still picture of one run: what is wrong is in it, however much there is."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from duetime.report.strip import AT_MOST, strip

SVG = "{http://www.w3.org/2000/svg}"


def lane(notes: list[dict[str, Any]]) -> dict[str, Any]:
    fault = {"from": 2.0, "to": None, "colour": "#d62728", "title": "workers killed"}
    return {"design": "d", "outcome": "fail", "ends": 20.0, "faults": [fault], "notes": notes}


def note(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "revs": [{"asked": 1.0, "due": 3.0, "deadline": 5.0, "state": "delivered", **more}]}


def drawn(notes: list[dict[str, Any]]) -> tuple[ElementTree.Element, list[str]]:
    root = ElementTree.fromstring(strip(lane(notes)))  # noqa: S314 - what we have just written
    return root, [text.text or "" for text in root.iter(f"{SVG}text")]


def test_each_thing_that_is_wrong_has_a_mark_and_its_words() -> None:
    root, words = drawn(
        [
            note("a", state="missed"),
            note("b", got=[[3.1, 0, 1, "ok"], [3.2, 1, 1, "duplicate"]]),
            note("c", got=[[3.1, 0, 1, "ok"]]),
        ]
    )

    assert {"missed", "came again", "delivered", "workers killed"} <= set(words)
    assert len([dot for dot in root.iter(f"{SVG}circle") if dot.get("r") == "3"]) == 2


def test_a_fault_that_never_healed_reaches_to_the_end() -> None:
    root, _ = drawn([note("a")])
    [shaded] = [rect for rect in root.iter(f"{SVG}rect") if rect.get("opacity")]

    assert float(shaded.get("x", "")) + float(shaded.get("width", "")) == 860 - 12


def test_of_many_some_are_drawn_and_of_many_wrong_ones_too() -> None:
    for state in ("delivered", "missed"):
        root, _ = drawn([note(f"{number:03}", state=state) for number in range(300)])
        lines = [path for path in root.iter(f"{SVG}path") if path.get("stroke") == "#d5d9df"]

        assert 0 < len(lines) <= AT_MOST


def test_a_name_is_escaped() -> None:
    root = ElementTree.fromstring(strip({**lane([note("a")]), "design": "<script>"}))  # noqa: S314 - the same

    assert root.find(f"{SVG}title").text == "<script>: fail"  # type: ignore[union-attr]
