"""Read docker-compose.yml as Compose does, with replacements for its network and its file system."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


class Missing(Exception):
    """A variable that the file requires is not set."""


def services(shell: Mapping[str, str], replacements: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the services of the file under the variables of `shell`, after the textual `replacements`."""
    text = FILE.read_text()
    for old, new in (replacements or {}).items():
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    found: dict[str, Any] = substituted(YAML(typ="safe").load(text), shell)["services"]
    return found


def substituted(value: Any, shell: Mapping[str, str]) -> Any:
    """Replace the ${VARIABLES} in `value`. Compose does so before it reads profiles."""
    if isinstance(value, dict):
        return {key: substituted(inner, shell) for key, inner in value.items()}
    if isinstance(value, list):
        return [substituted(inner, shell) for inner in value]
    return _text(value, shell) if isinstance(value, str) else value


def _text(text: str, shell: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        name, operator, rest = match["name"], match["operator"], match["rest"]
        if match[0] == "$$":
            return "$"
        if name is None:
            raise AssertionError(f"{text!r}: write $$ for a dollar sign, or ${{NAME:-default}}, or ${{NAME:?why}}")
        if shell.get(name):
            return shell[name]
        if operator == ":?":
            raise Missing(f"{name}: {rest}")
        return rest or ""

    return re.sub(r"\$(\$|\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<rest>[^}]*))?\})|\$", replacement, text)


def environment(service: Mapping[str, Any], shell: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a container of `service`. A variable without a value is the shell's, if set there."""
    values = {name: shell.get(name) if value is None else str(value) for name, value in service["environment"].items()}
    return {name: value for name, value in values.items() if value is not None}
