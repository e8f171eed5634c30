"""Names that were replaced because a reader had to look them up stay replaced, in code and in pages."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULES = [
    "applicable", "board", "borrowed", "cast", "client", "clients", "conductor", "directory", "doubts",
    "hand_over", "hurting", "keeper", "links", "literal", "live", "measure", "metronome", "operating", "policy",
    "promises", "pulse", "servers", "showing", "shown", "site", "spans", "startline", "stopping", "targets",
    "uncollected", "visible",
]  # fmt: skip
"""Names that no module has any more, wherever it is."""

ONLY_IN = {"deliver": "oban_style_queue", "options": "duetime/cli", "obligations": "duetime/checker"}
"""Names that a module has in one folder only."""

DEFINITIONS = [
    "A_LOT", "BEGINNING", "BY_NAME", "Board", "Cast", "Conductor", "Destination", "Doing", "Doubts", "Hurtable",
    "Hurtables", "Join", "LOOKS", "Leave", "Live", "Look", "Metronome", "Mortal", "NOBODY_LOOKS", "NewSide",
    "NotNow", "NotSeen", "Owed", "Policy", "Promise", "SERVERS_DIE", "Server", "Sign", "Site", "Spans",
    "StopSignal", "Surroundings", "TIME_ITSELF", "Targets", "Together", "Trouble", "USUAL", "Undertaking",
    "Wants", "Watch", "Watcher", "Word", "_drum", "_felt", "_gets_on", "_help", "_patient", "_plainly", "_turn",
    "becomes", "belonging", "beyond_s", "bites", "come_by", "excuses_nothing", "exists_for", "gathering",
    "hand_over", "idea", "may_leave", "on_the_tick", "resurrect", "struck", "swapped", "takes_over_not",
    "teaches", "told", "unkind_to", "weigh", "why_not", "wish", "workplace",
]  # fmt: skip
"""Names that no class, function, parameter, variable or attribute has any more."""

FUNCTIONS = [
    "aim", "bite", "did", "empty", "healed", "look", "mend", "observe", "sweep", "tell", "withdraw",
]  # fmt: skip
"""Names that no class or function has any more; as variables they are ordinary words."""

TWICE = ("Plan", "Profile", "Operation", "Fault", "Finding", "Guarantees")
"""Class names that were in use for two things each."""

HEADERS = ("unkind to", "teaches", "mend", "where it went", "promised")
"""Words that printed output and tables had as labels."""


def files(*suffixes: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if name.endswith(suffixes) and (ROOT / name).is_file()]


def replaced_names(tree: ast.AST) -> Iterator[str]:
    """Every replaced name that a module gives to something, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name in DEFINITIONS or name in FUNCTIONS:
                    yield f"{name} in line {node.lineno}"
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                if name in DEFINITIONS:
                    yield f"{name} in line {node.lineno}"


def test_no_module_has_a_replaced_name() -> None:
    paths = [path.relative_to(ROOT) for path in files(".py")]

    replaced = [str(path) for path in paths if path.stem in MODULES]
    misplaced = [
        str(path) for path in paths if path.stem in ONLY_IN and not str(path).startswith(f"{ONLY_IN[path.stem]}/")
    ]

    assert replaced == []
    assert misplaced == []


@pytest.mark.parametrize("path", files(".py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_definition_has_a_replaced_name(path: Path) -> None:
    assert list(replaced_names(ast.parse(path.read_text()))) == []


def test_no_two_classes_of_the_project_share_a_name_that_confused_readers() -> None:
    classes: dict[str, list[str]] = {name: [] for name in TWICE}
    for path in files(".py"):
        if path.relative_to(ROOT).parts[0] != "tests":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and node.name in TWICE:
                    classes[node.name].append(str(path.relative_to(ROOT)))

    assert {name: paths for name, paths in classes.items() if len(paths) > 1} == {}


def test_no_page_shows_a_replaced_name_as_code() -> None:
    names = "|".join([*DEFINITIONS, *(f"{module}.py" for module in MODULES)])
    shown = re.compile(rf"`(?:[\w./]*[./])?({names})(?:\(.*?\))?`")

    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files(".md")
        if path.name != "CHANGELOG.md"
        for match in shown.finditer(path.read_text())
    ]

    assert found == []


@pytest.mark.parametrize("header", HEADERS)
def test_no_table_has_a_replaced_header(header: str) -> None:
    as_header = re.compile(rf"\| *{header} *\||^ *{header}:|^scenario .*\b{header}\b", re.IGNORECASE | re.MULTILINE)

    found = [
        str(path.relative_to(ROOT))
        for path in files(".md")
        if path.name != "CHANGELOG.md" and as_header.search(path.read_text())
    ]

    assert found == []
