"""What maintainers may still object to, from a library's README."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime import contenders
from duetime.errors import BadUsage
from duetime.league.about import read_about
from duetime.league.document import document
from duetime.league.objections import objections_of
from duetime.league.why import Explanations
from tests.league.cells import judged

SECTION = """
## Objections that remain

- **It was run without the
  paid edition.** That one cannot be had.
- **Its poll interval is short.** Its documentation recommends it.

## Another

- **No objection.** Another section's.
"""


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "rq").mkdir()
    (tmp_path / "rq" / "README.md").write_text(f"# RQ\n{text}")
    return tmp_path / "rq"


def test_each_objection_has_its_title_and_the_place_of_its_answer(tmp_path: Path) -> None:
    found = objections_of(folder(tmp_path, SECTION))

    assert [one.title for one in found] == ["It was run without the paid edition.", "Its poll interval is short."]
    assert {one.page for one in found} == {"../contenders/rq/README.md#objections-that-remain"}


def test_a_readme_without_the_section_has_none(tmp_path: Path) -> None:
    assert objections_of(folder(tmp_path, "\n## Another\n\n- **No objection.** Text.\n")) == []


@pytest.mark.parametrize("items", ["", "- no title\n", "- **One.** Text.\n- **No stop** text\n", "- **Alone.**\n"])
def test_an_item_without_a_title_or_an_answer_is_refused(tmp_path: Path, items: str) -> None:
    with pytest.raises(BadUsage, match="begins with a title"):
        objections_of(folder(tmp_path, f"\n## Objections that remain\n\n{items}"))


def test_what_the_libraries_readmes_say_stands_on_the_page() -> None:
    known = read_about(["contender:rq"], None)

    text = document([judged("contender:rq")], Explanations([]), known)

    listed = text.partition("## What their maintainers may object to\n")[2].partition("\n## ")[0]
    assert listed.count("\n- ") == len(known.objections)
    for name in contenders.names():
        titles = [one.title for one in objections_of(contenders.folder(name))]
        assert all(title in " ".join(listed.split()) for title in titles)
