"""The static SVG of one run."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from duetime.report.strip import AT_MOST, strip

SVG = "{http://www.w3.org/2000/svg}"


def lane(notes: list[dict[str, Any]]) -> dict[str, Any]:
    fault = {"from": 2.0, "to": None, "colour": "#d62728", "title": "workers killed"}
    return {"design": "d", "outcome": "fail", "ends": 20.0, "faults": [fault], "notes": notes}


def note(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "revs": [{"invoked": 1.0, "due": 3.0, "deadline": 5.0, "state": "delivered", **more}]}


def drawn(notes: list[dict[str, Any]]) -> tuple[ElementTree.Element, list[str]]:
    root = ElementTree.fromstring(strip(lane(notes)))  # noqa: S314 - text made by this package
    return root, [text.text or "" for text in root.iter(f"{SVG}text")]


def test_each_violation_has_a_mark_and_an_entry_in_the_legend() -> None:
    root, words = drawn(
        [
            note("a", state="missed"),
            note("b", deliveries=[[3.1, 0, 1, "ok"], [3.2, 1, 1, "duplicate"]]),
            note("c", deliveries=[[3.1, 0, 1, "ok"]]),
        ]
    )

    assert {"missed", "delivered again", "delivered", "workers killed"} <= set(words)
    assert len([dot for dot in root.iter(f"{SVG}circle") if dot.get("r") == "3"]) == 2


def test_a_fault_that_is_not_healed_is_shaded_to_the_end() -> None:
    root, _ = drawn([note("a")])
    [shaded] = [rect for rect in root.iter(f"{SVG}rect") if rect.get("opacity")]

    assert float(shaded.get("x", "")) + float(shaded.get("width", "")) == 860 - 12


def test_a_limited_number_is_drawn_of_many_notifications_and_of_many_violations() -> None:
    for state in ("delivered", "missed"):
        root, _ = drawn([note(f"{number:03}", state=state) for number in range(300)])
        lines = [path for path in root.iter(f"{SVG}path") if path.get("stroke") == "#d5d9df"]

        assert 0 < len(lines) <= AT_MOST


def test_the_name_of_a_design_is_escaped() -> None:
    root = ElementTree.fromstring(strip({**lane([note("a")]), "design": "<script>"}))  # noqa: S314 - text made by this package

    assert root.find(f"{SVG}title").text == "<script>: fail"  # type: ignore[union-attr]
