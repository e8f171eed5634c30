"""What a library's maintainers may still object to: a section of its README, which the league links to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from duetime.errors import BadUsage

HEADING = "Objections that remain"
SECTION = re.compile(rf"^## {HEADING}\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^- \*\*(?P<title>[^*]+\.)\*\* \S", re.MULTILINE)
ANCHOR = HEADING.lower().replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Objection:
    """An objection that stands. title: a sentence. page: where it is answered, relative to docs/."""

    entrant: str
    title: str
    page: str


def objections_of(folder: Path) -> list[Objection]:
    """Return the objections in a contender's folder; none without the section.

    Raises:
        BadUsage: an item of the section has no title, with what to write instead.
    """
    readme = folder / "README.md"
    section = SECTION.search(readme.read_text())
    if not section:
        return []
    titles = [" ".join(item["title"].split()) for item in ITEM.finditer(section[1])]
    if not titles or len(titles) != len(re.findall(r"^- ", section[1], re.MULTILINE)):
        raise BadUsage(f"{readme}: each item of '{HEADING}' begins with a title, as in '- **It polls.** Its answer.'")
    return [Objection(folder.name, title, f"../contenders/{folder.name}/README.md#{ANCHOR}") for title in titles]
