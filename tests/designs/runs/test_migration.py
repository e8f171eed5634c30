"""Migrations from a poller in real runs; lesson 10 runs the other directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import compared, json_lines

pytestmark = pytest.mark.runs

DESIGNS = ("pull_worker-to-push_readmodel", "pull_worker-to-oban_style_queue")


def test_a_migration_from_a_poller_misses_and_duplicates_nothing(tmp_path: Path) -> None:
    _, cells = compared(
        "--designs", ",".join(DESIGNS), "--scenarios", "migration_stopped", "--seed", "12", out=tmp_path
    )

    for design in DESIGNS:
        cell = cells["migration_stopped", design]
        assert cell["counts"]["missed"] == cell["counts"]["duplicate"] == 0, cell["explanation"]
        assert cell["outcome"] != "unknown", cell["explanation"]
        workers = {record["worker"] for record in json_lines(Path(cell["run_dir"]) / "deliveries.jsonl")}
        assert {"old-worker-1", "new-worker-1"} <= workers
