"""The fixture that makes a ``World``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from duetime import registry
from duetime.settings import Settings
from tests.designs.violations.world import MakeWorld, World


@pytest.fixture
def make_world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> MakeWorld:
    """Return a function that makes the world of a design; `changed` are settings that differ from the tests' own."""

    def make(name: str, **changed: Any) -> World:
        return World(registry.load(name), replace(settings, **changed), engine, tempdir, tmp_path)

    return make
