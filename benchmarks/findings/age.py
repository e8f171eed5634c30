"""How old the matrix of docs/findings.md is, from files alone, so that a clone without history knows it too."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from duetime.contenders import ROOT

DRAIN = ROOT / "push_readmodel"
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+)\b", flags=re.MULTILINE)
STAMP = re.compile(r"<!-- measured: tree (?P<tree>[^;]+); release (?P<release>\S+); drain (?P<drain>\w+) -->")
BEFORE_ALL = "none"
"""The release of a tree that is older than every release."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What was measured. release: the newest in CHANGELOG.md then. drain: `digest_of_drain` then."""

    tree: str
    release: str
    drain: str

    def __str__(self) -> str:
        return f"<!-- measured: tree {self.tree}; release {self.release}; drain {self.drain} -->"


def stamp_of(page: str) -> Stamp:
    """Return the stamp on `page`.

    Raises:
        ValueError: there is none.
    """
    found = STAMP.search(page)
    if not found:
        raise ValueError("the page has no line <!-- measured: tree …; release …; drain … -->; run `make findings`")
    return Stamp(**found.groupdict())


def stamp_now(tree: str) -> Stamp:
    releases = releases_in((ROOT / "CHANGELOG.md").read_text())
    return Stamp(tree, releases[0] if releases else BEFORE_ALL, digest_of_drain())


def releases_in(changelog: str) -> list[str]:
    """Return the releases in `changelog`, the newest first."""
    return RELEASE.findall(changelog)


def digest_of_drain(package: Path = DRAIN) -> str:
    """Return the first twelve digits of the SHA-256 of every Python file of the read model, with its name."""
    files = sorted(package.rglob("*.py"))
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    return hashed.hexdigest()[:12]


def too_old(stamp: Stamp, *, changelog: str, drain: str) -> str | None:
    """Return why the matrix has to be made again; None if it need not be.

    It has to be if the read model's files are others than those that were measured, and more than one release came out
    since. So there is a release's time to make it, and a matrix of unchanged files never expires.
    """
    if stamp.drain == drain:
        return None
    releases = releases_in(changelog)
    since = releases.index(stamp.release) if stamp.release in releases else len(releases)
    if since <= 1:
        return None
    return (
        f"push_readmodel has changed since its matrix was measured (tree {stamp.tree}, release {stamp.release}), and "
        f"{since} releases came out since: {', '.join(releases[:since])}. Run `make findings`."
    )
