"""What decides how a run goes: the committed files of the harness, and of the design that ran."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Collection, Sequence
from functools import cache

from duetime.contenders import PREFIX, ROOT

WITHOUT_EFFECT = {"audit", "checker", "cli", "demo", "explore", "league", "lint", "pages.py", "report", "shrink", "web"}
"""In the package: what judges a finished run, shows it, or has nothing to do with runs."""
ABOUT_A_LIBRARY = {"README.md", "claims.toml", "facts.toml"}
"""In a library's folder: what says something about it."""
OWN_DESIGNS = ("pull_worker", "push_readmodel", "oban_style_queue")


def sources_of(design: str) -> str:
    """Return a hash of the sources that decide how a run of `design` goes, at HEAD; empty without git.

    Runs with the same hash are runs of the same code, whatever the documentation or a report has become since. A
    library's hash does not depend on other libraries, and none on the versions of what is installed.
    """
    library = design.removeprefix(PREFIX).partition(":")[0]
    folders = [f"contenders/{library}/"] if design.startswith(PREFIX) else OWN_DESIGNS
    return _hash([*_objects("duetime/", but=WITHOUT_EFFECT), *_objects(*folders, but=ABOUT_A_LIBRARY)])


def checker_sources() -> str:
    """Return a hash of the checker's sources at HEAD; empty without git."""
    return _hash(_objects("duetime/checker/", but=()))


def _hash(objects: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(objects).encode()).hexdigest()[:12] if objects else ""


def _objects(*paths: str, but: Collection[str]) -> list[str]:
    return [line for line in _listed(*paths) if line.rpartition("/")[2] not in but]


@cache
def _listed(*paths: str) -> list[str]:
    """Return the entries of `paths` at HEAD: mode, kind, object, path."""
    done = subprocess.run(
        ["git", "ls-tree", "HEAD", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()
