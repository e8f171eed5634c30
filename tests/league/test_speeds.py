"""The speed columns are read from what the benchmarks wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from duetime.errors import BadUsage
from duetime.league.speeds import Speeds, read

MEASURED: dict[str, Any] = {
    "datetime": "2030-01-02T03:04:05",
    "commit_info": {"id": "0123456789", "dirty": False},
    "machine_info": {"cpu": {"count": 2, "brand_raw": "A processor"}, "machine": "x86_64"},
    "benchmarks": [
        {
            "extra_info": {
                "size": "full",
                "league": {
                    "drain per second": {"push_readmodel": 1234.5, "contender:rq:tuned": 80.25},
                    "s back after SIGKILL": {"push_readmodel": 0.5, "contender:rq:tuned": None},
                },
            }
        },
        {"extra_info": {"size": "full"}},
    ],
}


def stored(directory: Path, measured: object) -> Path:
    path = directory / "speeds.json"
    path.write_text(json.dumps(measured))
    return path


def test_figures_are_by_name_and_the_best_is_the_most_or_the_least(tmp_path: Path) -> None:
    speeds = read([stored(tmp_path, MEASURED)])

    assert speeds
    assert speeds.designs() == ["push_readmodel", "contender:rq:tuned"]
    assert [list(speeds.texts(design)) for design in speeds.designs()] == [["1,234", "0.5"], ["80.2", "-"]]
    assert [speeds.best(column) for column in speeds.columns] == [["push_readmodel"], ["push_readmodel"]]
    assert speeds.conditions == "2030-01-02, commit 0123456, size full, 2 shared cores (A processor)"


def test_equal_figures_are_equally_good() -> None:
    speeds = Speeds({"not delivered in time": {"a": 0.0, "b": 0.04, "c": 2.0}, "s of a deploy": {"a": None}}, "")

    assert [speeds.best(column) for column in speeds.columns] == [["a", "b"], []]


def test_the_benchmarks_are_optional_and_others_are_refused(tmp_path: Path) -> None:
    assert read([]) is None
    with pytest.raises(BadUsage, match="has no figures of the league; write it with pytest"):
        read([stored(tmp_path, {**MEASURED, "benchmarks": [{"extra_info": {"size": "full"}}]})])
    with pytest.raises(BadUsage, match="cannot be read"):
        read([stored(tmp_path, [])])
