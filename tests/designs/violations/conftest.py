"""The fixture that makes a ``World``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from duetime import registry
from duetime.settings import Settings
from tests.designs.violations.world import MakeWorld, World


@pytest.fixture
def make_world(settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path) -> Iterator[MakeWorld]:
    """Return a function that makes the world of a design; `changed` are settings that differ from the tests' own."""

    with ExitStack() as worlds:

        def make(name: str, **changed: Any) -> World:
            design = registry.load(name)
            world = World(
                design, replace(settings, **changed), engine, tempdir, tmp_path, http=design.contender is not None
            )
            worlds.callback(world.close)
            return world

        yield make
