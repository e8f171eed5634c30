"""The static SVG of one run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from duetime.report.strip import AT_MOST, MARKS, strip

SVG = "{http://www.w3.org/2000/svg}"


def lane(notes: list[dict[str, Any]], *faults: dict[str, Any]) -> dict[str, Any]:
    return {"design": "d", "outcome": "fail", "ends": 20.0, "faults": faults or (fault(),), "notes": notes}


def fault(from_s: float = 2.0, to_s: float | None = None, title: str = "workers killed") -> dict[str, Any]:
    return {"from": from_s, "to": to_s, "colour": "#d62728", "title": title}


def note(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "revs": [{"invoked": 1.0, "due": 3.0, "deadline": 5.0, "state": "delivered", **more}]}


def drawn(notes: list[dict[str, Any]], *faults: dict[str, Any]) -> tuple[ElementTree.Element, list[str]]:
    root = ElementTree.fromstring(strip(lane(notes, *faults)))  # noqa: S314 - text made by this package
    return root, [text.text or "" for text in root.iter(f"{SVG}text")]


def used(root: ElementTree.Element, label: str) -> list[ElementTree.Element]:
    """The marks of `label`, of which the first is in the legend."""
    return [use for use in root.iter(f"{SVG}use") if use.get("href") == f"#{label}"]


def position(element: ElementTree.Element) -> tuple[float, float]:
    return float(element.get("x", "")), float(element.get("y", ""))


def every_label() -> list[dict[str, Any]]:
    cancel = {"answered": 2.0, "answer": "ok"}
    return [
        note("a", state="missed"),
        note("b", state="will_repeat", deliveries=[[3.1, 0, 1, "on_time"], [3.2, 1, 1, "duplicate"]]),
        *(note(label, deliveries=[[3.1, 0, 1, label]]) for label in ("excused", "zombie", "phantom", "stale")),
        *(note(label, deliveries=[[3.1, 0, 1, label]]) for label in ("early", "late")),
        {"key": "c", "revs": [*note("c", state="none_due")["revs"], cancel]},
    ]


def test_each_mark_is_in_the_legend_as_it_is_in_the_rows_and_no_two_look_the_same() -> None:
    root, words = drawn(every_label())

    for label, (*_, explanation) in MARKS.items():
        assert len(used(root, label)) == 2, label
        assert explanation in words
    shapes = [(path.get("d"), path.get("fill"), path.get("stroke")) for path in root.iter(f"{SVG}path")
              if path.get("id")]  # fmt: skip
    assert len(set(shapes)) == len(shapes) == len(MARKS) + len(("line", "due"))


def test_the_legend_has_no_mark_that_is_not_drawn() -> None:
    root, words = drawn([note("b", deliveries=[[3.1, 0, 1, "late"]])])

    assert not used(root, "missed") and "delivered" not in words


def test_entries_of_the_legend_and_names_of_faults_do_not_overlap_and_are_not_cut_off() -> None:
    near = [fault(18.0, 19.0, "workers restarted one by one"), fault(18.5, 20.0, "client killed"), fault(1.0, 2.0)]
    root, _ = drawn(every_label(), *near)
    above = [text for text in root.iter(f"{SVG}text") if position(text)[1] < 120 and text.get("font-size") is None]

    boxes = sorted((position(text)[1], position(text)[0], len(text.text or "") * 7) for text in above)
    assert len(boxes) == len(MARKS) + 1 + len(near)
    for (y, x, width), (next_y, next_x, _) in pairwise(boxes):
        assert x + width <= 860
        assert next_y > y or next_x > x + width


def test_a_mark_does_not_hide_the_one_before_it() -> None:
    root, _ = drawn([note("b", deliveries=[[3.1, 0, 1, "on_time"], [3.1, 1, 1, "duplicate"], [3.1, 1, 1, "late"]])])

    delivered, again, late = (position(used(root, label)[1])[0] for label in ("on_time", "duplicate", "late"))
    assert again - delivered >= 6 and late - again >= 6


def test_a_cancelled_notification_ends_where_it_was_cancelled_and_has_no_due_time() -> None:
    root, _ = drawn([every_label()[-1]])

    # The one in the legend.
    assert len(used(root, "due")) == 1
    assert position(used(root, "cancelled")[1])[0] == 12 + 2.0 * 836 / 20


def test_a_fault_that_is_not_healed_is_shaded_to_the_end() -> None:
    root, _ = drawn([note("a")])
    [shaded] = [rect for rect in root.iter(f"{SVG}rect") if rect.get("opacity")]

    assert float(shaded.get("x", "")) + float(shaded.get("width", "")) == 860 - 12


def test_a_limited_number_is_drawn_of_many_notifications_and_of_many_violations() -> None:
    for state in ("delivered", "missed"):
        root, _ = drawn([note(f"{number:03}", state=state) for number in range(300)])
        lines = [path for path in root.iter(f"{SVG}path") if "H" in (path.get("d") or "")]

        assert 0 < len(lines) <= AT_MOST


def test_the_name_of_a_design_is_escaped() -> None:
    root = ElementTree.fromstring(strip({**lane([note("a")]), "design": "<script>"}))  # noqa: S314 - text made by this package

    assert root.find(f"{SVG}title").text == "<script>: fail"  # type: ignore[union-attr]
