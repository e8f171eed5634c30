"""Fixtures for all tests and benchmarks."""

from __future__ import annotations

import pytest

pytest_plugins = ["duetime.testing", "tests.browser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared_servers" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
