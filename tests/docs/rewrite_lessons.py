"""Follow lessons, and write what was said, and a picture of the first run, onto their pages: ``make lessons``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.transcript import BLOCK, KEPT, PAGES, follow


def rewrite(page: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        again = iter(follow(page, Path(place)))
        newest = ""

        def block(found: re.Match[str]) -> str:
            nonlocal newest
            lines = []
            for line in found[0].splitlines():
                if line.startswith("$ "):
                    step = next(again)
                    lines += [KEPT.sub(newest, line) if newest else line, *step.said]
                    newest = next(iter(KEPT.findall("\n".join(step.said))), newest)
            return "\n".join(lines) + "\n"

        page.write_text(BLOCK.sub(block, page.read_text()))
        drawn = next(Path(place).glob(f"runs/*/{shown(page)}*/plan.json")).parent
        svg = page.with_suffix(".svg")
        subprocess.run([sys.executable, "-m", "duetime.cli", "report", drawn, "--svg", svg], check=True)


def shown(page: Path) -> str:
    """Scenario and design of the run that the picture is of: the first design of the last command before it."""
    before = page.read_text().partition(f"]({page.stem}.svg)")[0]
    *_, told = re.finditer(
        r"^\$ duetime (?:run (\S+) (\S+)|compare --designs ([^ ,]+)\S* --scenarios (\S+))", before, flags=re.MULTILINE
    )
    design, scenario = told[1] or told[3], told[2] or told[4]
    own = design.rpartition("/")[2].removesuffix(":design").removesuffix(".py").replace(":", "-")
    return f"{scenario}/{own}-seed"


if __name__ == "__main__":
    for path in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        print(path.name, flush=True)
        rewrite(path)
