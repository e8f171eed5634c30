"""The design on the page of the contract runs as it is printed, in at most 20 lines."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.commands import duetime

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contract.md"
EXAMPLE = ROOT / "examples" / "plain_loop.py"


def code_on_the_page() -> str:
    (code,) = re.findall(r"```python\n(import sys, time\n.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return str(code)


def statements(code: str) -> list[str]:
    """Return the statements of `code`, without its docstring and its imports."""
    skipped = (ast.Import, ast.ImportFrom)
    body = ast.parse(code).body
    is_docstring = isinstance(body[0], ast.Expr)
    return [ast.unparse(statement) for statement in body[is_docstring:] if not isinstance(statement, skipped)]


def test_the_design_on_the_page_is_the_one_in_the_examples() -> None:
    assert statements(code_on_the_page()) == statements(EXAMPLE.read_text())


def test_the_design_on_the_page_passes_a_calm_run(tmp_path: Path) -> None:
    code = code_on_the_page()
    assert len([line for line in code.splitlines() if line]) <= 21
    (tmp_path / "my_design.py").write_text(code)

    done = duetime("run", f"{tmp_path / 'my_design.py'}:design", "calm", "--out", str(tmp_path / "runs"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "plain_loop" in done.stdout
    assert "report.html" in done.stdout
