"""The versions of what a contender runs with, read from its own environment."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from duetime.contenders import CLIENT_NEEDS, Contender, lines_of
from duetime.contenders import cache as cache_of

UNKNOWN = "unknown"
"""Written for what cannot be read, because a run does not depend on it."""
NAME = re.compile(r"[A-Za-z0-9._-]+")
NUMBER = re.compile(r"\d+(?:\.[0-9A-Za-z+~-]+)+")
INTERPRETERS = {"ruby", "node", "php", "perl", "python3"}
READ_PYTHON = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version

found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@cache
def versions_of(contender: Contender) -> Mapping[str, str]:
    """Return the versions by name, for instance ``rq of contender:rq``. Read once in each process."""
    here = contender.here
    found: dict[str, str] = {}
    if (here / "requirements.txt").exists():
        found.update(_python(contender.python, [*lines_of(here / "requirements.txt"), *CLIENT_NEEDS]))
    if (here / "package.json").exists():
        found.update(_node(here))
    if (here / "apt.txt").exists():
        found.update(_installed(lines_of(here / "apt.txt")))
        found.update(_interpreters(here / "apt.txt"))
    if (here / "unpack.txt").exists():
        found.update(_unpacked(contender.unpacked, lines_of(here / "unpack.txt")))
    return {f"{name} of contender:{here.name}": version for name, version in found.items()}


def _python(python: str, requirements: Sequence[str]) -> Mapping[str, str]:
    names = [found[0] for line in requirements if (found := NAME.match(line))]
    # -I: neither PYTHONPATH nor the working directory must answer for the environment.
    printed = _printed([python, "-I", "-c", READ_PYTHON, *names])
    try:
        read = json.loads(printed)
    except ValueError:
        read = {}
    return {name: str(read.get(name, UNKNOWN)) for name in ("python", *names)}


def _node(here: Path) -> Iterator[tuple[str, str]]:
    yield "node", _number(_printed(["node", "--version"]))
    for name in json.loads((here / "package.json").read_text()).get("dependencies", {}):
        package = cache_of(here.name) / "node_modules" / name / "package.json"
        try:
            yield name, str(json.loads(package.read_text())["version"])
        except (OSError, ValueError, KeyError):
            yield name, UNKNOWN


def _installed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        yield package, _printed(["dpkg-query", "--show", "--showformat=${Version}", package]) or UNKNOWN


def _interpreters(apt: Path) -> Iterator[tuple[str, str]]:
    """The interpreters of the programs of apt.txt, from their first lines."""
    for line in apt.read_text().splitlines():
        program = shutil.which(line.partition(":")[2].strip())
        if program:
            with Path(program).open("rb") as file:
                words = file.readline(200).decode(errors="replace").removeprefix("#!").replace("/", " ").split()
            for interpreter in INTERPRETERS & set(words):
                yield interpreter, _number(_printed([interpreter, "--version"]))


def _unpacked(root: Path, packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """From the first line of Debian's changelog, ``package (version) …``: dpkg does not know what is only unpacked.

    The first package of each version; a program such as Erlang comes in a dozen.
    """
    seen: set[str] = set()
    for package in packages:
        version = UNKNOWN
        for name in ("changelog.Debian.gz", "changelog.gz"):
            changelog = root / "usr" / "share" / "doc" / package / name
            if version == UNKNOWN and changelog.exists():
                with gzip.open(changelog, "rt", errors="replace") as text:
                    found = re.search(r"\(([^)]+)\)", text.readline())
                version = found[1] if found else UNKNOWN
        if version not in seen:
            seen.add(version)
            yield package, version


def _printed(command: Sequence[str]) -> str:
    """Return what `command` prints; empty if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _number(text: str) -> str:
    found = NUMBER.search(text)
    return found[0] if found else UNKNOWN
