"""The commands of duetime, run as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BROKEN = Path(__file__).parent / "harness" / "broken_designs.py"


def duetime(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "duetime.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def compared(*arguments: str, out: Path, **environment: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """Run `duetime compare --json`; return its exit status, and its cells by scenario and design."""
    done = duetime("compare", "--json", "--out", str(out), *arguments, **environment)
    assert done.stdout, done.stderr
    cells = json.loads(done.stdout)["cells"]
    return done.returncode, {(cell["scenario"], cell["design"]): cell for cell in cells}


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def labels(run_dir: Path) -> list[Mapping[str, Any]]:
    done = duetime("check", str(run_dir), "--labels")
    return [json.loads(line) for line in done.stdout.splitlines()]
