"""How much a test of each design takes: ``python -m tests.designs.testability.compare``."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from tests.designs.testability.behaviours import World

HERE = Path(__file__).parent
FILES = ("test_push_readmodel.py", "test_pull_worker.py", "test_oban_style_queue.py")


class Measurement:
    """A pytest plugin that times each test with its set-up, and counts the rows that it wrote."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.rows: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, test = report.nodeid.rpartition("/")[2].partition("::")
        self.seconds[file][test] += report.duration

    def pytest_runtest_teardown(self, item: pytest.Function) -> None:
        self.rows[item.path.name] = cast("World", item.funcargs["world"]).rows


def lines_of_set_up(file: Path) -> int:
    """Count the lines of the classes and functions in `file`, without empty lines."""
    tree = ast.parse(file.read_text())
    lines = file.read_text().splitlines()
    nodes = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return sum(bool(line.strip()) for node in nodes for line in lines[node.lineno - 1 : node.end_lineno])


def main() -> int:
    measured = Measurement()
    status = pytest.main(["-q", "--no-header", *(str(HERE / file) for file in FILES)], plugins=[measured])
    print(
        "\n| design | lines of set-up | rows of other modules | ms a test, set-up included |\n| --- | --- | --- | --- |"
    )
    for file in FILES:
        name = file.removeprefix("test_").removesuffix(".py").replace("_", " ")
        milliseconds = median(measured.seconds[file].values()) * 1000
        print(f"| {name} | {lines_of_set_up(HERE / file)} | {measured.rows[file]} | {milliseconds:.0f} |")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
