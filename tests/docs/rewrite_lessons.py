"""Run the commands of lessons, and write their output and a picture onto the pages: ``make lessons``.

``make lessons ARGS=--redraw`` runs nothing and draws each picture again, from the data in it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from duetime.report.strip import draw
from tests.docs.transcript import CONSOLE_BLOCK, LESSONS, Step, follow

METADATA = "{http://www.w3.org/2000/svg}metadata"
RUN_COMMAND = re.compile(
    r"^\$ duetime (?:run (\S+) (\S+)|compare --designs ([^ ,]+)\S* --scenarios (\S+))", flags=re.MULTILINE
)


def rewrite(page: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        page.write_text(with_new_output(page.read_text(), follow(page, directory)))
        run_dir = next(directory.glob(f"runs/*/{pictured_run(page)}*/plan.json")).parent
        svg = page.with_suffix(".svg")
        subprocess.run([sys.executable, "-m", "duetime.cli", "report", run_dir, "--svg", svg], check=True)


def redrawn(svg: str) -> str:
    """Return the picture `svg` as the present code draws its data."""
    return draw(json.loads(ElementTree.fromstring(svg).findtext(METADATA, "")))  # noqa: S314 - a file of this repository


def with_new_output(text: str, steps: list[Step]) -> str:
    """Return `text` with the output of each command replaced by that of `steps`."""
    done = iter(steps)
    return CONSOLE_BLOCK.sub(lambda block: "".join(f"{line}\n" for line in _new_block(block[0], done)), text)


def _new_block(block: str, done: Iterator[Step]) -> Iterator[str]:
    for line in block.splitlines():
        if line.startswith("$ "):
            step = next(done)
            yield f"$ {step.command}"
            yield from step.output


def pictured_run(page: Path) -> str:
    """Return the directory of the run in the picture: scenario and first design of the last command above it."""
    above = page.read_text().partition(f"]({page.stem}.svg)")[0]
    *_, command = RUN_COMMAND.finditer(above)
    design, scenario = command[1] or command[3], command[2] or command[4]
    name = design.rpartition("/")[2].removesuffix(":design").removesuffix(".py").replace(":", "-")
    return f"{scenario}/{name}-seed"


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--redraw"]
    for path in [Path(name).resolve() for name in names] or LESSONS:
        print(path.name, flush=True)
        if "--redraw" in sys.argv:
            svg = path.with_suffix(".svg")
            svg.write_text(redrawn(svg.read_text()))
        else:
            rewrite(path)
