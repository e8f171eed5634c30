"""A Python that has the packages of `pip install duetime` and no others, made of links to the installed ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("duetime", "pull_worker", "push_readmodel", "oban_style_queue")


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def needed(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Return the installed distributions that `requirements` lead to, by name."""
    found: dict[str, Distribution] = {}
    queue = [Requirement(line) for line in requirements]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found[name] = distribution(name)
        for further in map(Requirement, found[name].requires or ()):
            extras = requirement.extras or {""}
            if not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(further)
    return found


def link_base(directory: Path) -> None:
    """Fill `directory`, as a site-packages, with what the base of duetime needs, and with its source."""
    for each in needed(PROJECT["dependencies"]).values():
        for path in _top_level(each):
            if not (directory / path.name).exists():
                (directory / path.name).symlink_to(path)
    for package in OURS:
        (directory / package).symlink_to(ROOT / package)
    metadata = directory / f"duetime-{PROJECT['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: duetime\nVersion: {PROJECT['version']}\n")
    points = (f"{name} = {where}" for name, where in PROJECT["entry-points"]["duetime.designs"].items())
    (metadata / "entry_points.txt").write_text("\n".join(["[duetime.designs]", *points, ""]))


def python(directory: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with `directory` instead of its site-packages."""
    servers = {"DUETIME_DATABASE_URL": "postgresql://127.0.0.1:1/none", "DUETIME_BROKER_URL": "redis://127.0.0.1:1/0"}
    return subprocess.run(
        [sys.executable, "-S", "-P", *arguments],
        env={**os.environ, **servers, "PYTHONPATH": str(directory)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def _top_level(each: Distribution) -> Iterator[Path]:
    for name in {Path(file).parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
        yield Path(str(each.locate_file(name)))
