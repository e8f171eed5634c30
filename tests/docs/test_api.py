"""The page about the public API names everything public, and its examples work."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine

from duetime import after_commit, asynchronous, interface, scheduler_process, testing
from duetime.settings import Settings
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
IMPORTED = {"annotations", "limits", "TYPE_CHECKING"}


def public_names(module: ModuleType) -> Iterator[str]:
    """Yield the public names that `module` defines, with the fields and methods of its classes."""
    for name, value in vars(module).items():
        defined_here = getattr(value, "__module__", module.__name__) == module.__name__ or name in {
            "Migrate",
            "Delivery",
        }
        if name.startswith("_") or name in IMPORTED or isinstance(value, ModuleType) or not defined_here:
            continue
        yield name
        if isinstance(value, type):
            yield from (member for member in vars(value) if not member.startswith("_"))
            if dataclasses.is_dataclass(value):
                yield from (field.name for field in dataclasses.fields(value))


@pytest.mark.parametrize(
    "module", [interface, after_commit, scheduler_process, asynchronous, testing], ids=lambda module: module.__name__
)
def test_every_public_name_is_on_the_page(module: ModuleType) -> None:
    code = " ".join(re.findall(r"`([^`\n]+)`", PAGE))
    words = set(re.findall(r"\w+", code))

    assert sorted(set(public_names(module)) - words) == []


def test_the_public_names_are_found() -> None:
    assert {"Design", "Migrate", "Delivery", "MIGRATION_SEPARATOR", "accept", "from_store"} <= set(
        public_names(interface)
    )
    assert set(public_names(after_commit)) == {"after_commit"}
    assert set(public_names(testing)) == {"tempdir", "shared_servers", "endpoints", "engine", "settings"}


def test_the_examples_work(engine: Engine, settings: Settings) -> None:
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(example, names)  # noqa: S102 - the page is part of the project

    example_test: Callable[[Engine, Settings], None] = names["test_a_scheduled_notification_is_pending"]
    example_test(engine, settings)
