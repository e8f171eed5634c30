"""The workflow and the hooks: valid, and calling the commands that contributors call."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "check.yml"
PYTHONS = ["3.11", "3.12", "3.13"]


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def commands_of(job: dict[str, Any]) -> Iterator[str]:
    return (step["run"] for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflow_is_valid(schema: str) -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))

    done = subprocess.run([checker, "--builtin-schema", schema, WORKFLOW], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_checks_and_tests_on_each_supported_python() -> None:
    jobs = read_yaml(WORKFLOW)["jobs"]

    assert {"make check", "make test-quick"} <= set(commands_of(jobs["fast"]))
    assert "make test" in commands_of(jobs["slow"])
    assert all(job["strategy"]["matrix"]["python"] == PYTHONS for job in jobs.values())


def test_the_package_declares_the_pythons_of_the_workflow() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "

    assert [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(f"{prefix}3.")] == PYTHONS
    assert project["requires-python"] == f">={PYTHONS[0]}"


def test_the_license_is_the_declared_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n\nCopyright (c) 2026 the duetime authors\n")


def test_each_hook_calls_a_tool_of_the_projects_own_environment() -> None:
    repositories = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]

    assert {repository["repo"] for repository in repositories} == {"local"}
    assert {hook["id"] for hook in hooks} == {"ruff-format", "ruff-check", "mypy"}
    assert all(hook["entry"].startswith(".venv/bin/") and hook["language"] == "system" for hook in hooks)
