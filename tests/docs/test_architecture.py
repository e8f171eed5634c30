"""Every file that docs/architecture.md names exists, and no room is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:duetime|pull_worker|push_readmodel|oban_style_queue)/[\w/.]*)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_every_file_and_folder_named_exists(name: str) -> None:
    path = ROOT / name

    assert path.is_dir() if name.endswith("/") else path.is_file()


def test_every_package_of_duetime_is_named() -> None:
    packages = {f"duetime/{init.parent.name}/" for init in ROOT.glob("duetime/*/__init__.py")}
    rooms = {re.sub(r"^(duetime/\w+/).*", r"\1", name) for name in NAMED}

    assert packages <= rooms


def test_it_fits_on_one_screen() -> None:
    assert len(TEXT.splitlines()) <= 70
