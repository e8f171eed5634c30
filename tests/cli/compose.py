"""docker-compose.yml as Compose would read it, with what stands in for its network and its file system."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


class Missing(Exception):
    """A variable that the file demands is not set."""


def services(shell: Mapping[str, str], stand_ins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file's services under the variables of `shell`; each of `stand_ins` put where the file says its key."""
    text = FILE.read_text()
    for written, instead in (stand_ins or {}).items():
        assert written in text, f"{written!r} is not in the file any more"
        text = text.replace(written, instead)
    found: dict[str, Any] = substituted(YAML(typ="safe").load(text), shell)["services"]
    return found


def substituted(value: Any, shell: Mapping[str, str]) -> Any:
    """`value` with its ${VARIABLES} replaced, as Compose does it before it looks at profiles."""
    if isinstance(value, dict):
        return {key: substituted(inner, shell) for key, inner in value.items()}
    if isinstance(value, list):
        return [substituted(inner, shell) for inner in value]
    return _text(value, shell) if isinstance(value, str) else value


def _text(text: str, shell: Mapping[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        name, how, rest = found["name"], found["how"], found["rest"]
        if found[0] == "$$":
            return "$"
        if name is None:
            raise AssertionError(f"{text!r}: write $$ for a dollar sign, or ${{NAME:-default}}, or ${{NAME:?why}}")
        if shell.get(name):
            return shell[name]
        if how == ":?":
            raise Missing(f"{name}: {rest}")
        return rest or ""

    return re.sub(r"\$(\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})|\$", one, text)


def environment(service: Mapping[str, Any], shell: Mapping[str, str]) -> dict[str, str]:
    """What a container of `service` finds in its environment; one without a value is the shell's, if that has it."""
    given = {name: shell.get(name) if value is None else str(value) for name, value in service["environment"].items()}
    return {name: value for name, value in given.items() if value is not None}
