"""Fixtures for the tests of lint."""

from __future__ import annotations

import celery
import pytest


@pytest.fixture(autouse=True)
def celery_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a version of Celery about which no rule warns."""
    monkeypatch.setattr(celery, "__version__", "5.7.1")
