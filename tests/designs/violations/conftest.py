"""The fixture that makes a world."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from duetime import registry
from duetime.settings import Settings
from tests.designs.violations.world import World


@pytest.fixture
def world(
    settings: Settings, engine: Engine, tempdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., World]:
    """Makes the world of one design; `changed` are settings that differ."""

    def make(name: str, **changed: Any) -> World:
        mine = replace(settings, design=name, **changed)
        for variable, value in mine.environment().items():
            monkeypatch.setenv(variable, value)
        for module in [module for module in sys.modules if module.startswith("oban_style_queue.") and "app" in module]:
            # They read the environment once; each test has another broker.
            monkeypatch.delitem(sys.modules, module)
        return World(registry.load(name), mine, engine, tempdir, tmp_path)

    return make
