"""Designs are found by name and by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from duetime import registry
from duetime.errors import DesignNotLoadable, UnknownName

DESIGN_FILE = "from duetime.reference import design as mine\n"


VARIANTS = {
    "pull_worker": {"one_beat", "watermark", "claimed"},
    "push_readmodel": {"delete_first", "partitioned", "sharded"},
    "oban_style_queue": {"hardened", "soft_shutdown", "staged"},
}


def test_the_three_designs_their_variants_and_the_reference_are_registered() -> None:
    variants = {f"{design}:{variant}" for design, found in VARIANTS.items() for variant in found}

    assert set(registry.names()) == {*VARIANTS, *variants, "reference"}


@pytest.mark.parametrize("name", registry.names())
def test_a_registered_design_loads_under_its_own_name(name: str) -> None:
    assert registry.load(name).name == name


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'push_readmodel'"):
        registry.load("push_readmodle")


def test_a_design_can_be_a_file_that_is_not_packaged(tmp_path: Path) -> None:
    file = tmp_path / "my_design.py"
    file.write_text(DESIGN_FILE)

    assert registry.load(f"{file}:mine").name == "reference"


@pytest.mark.parametrize(
    ("content", "attribute", "message"),
    [
        ("import no_such_module\n", "design", "cannot be imported: ModuleNotFoundError"),
        ("def broken(:\n", "design", "cannot be imported: SyntaxError"),
        ("raise SystemError('no')\n", "design", "cannot be imported: SystemError"),
        (DESIGN_FILE, "yours", "has no attribute 'yours'"),
        ("design = 7\n", "design", "is of type int, not a duetime.interface.Design"),
    ],
)
def test_a_file_without_a_design_is_refused_with_the_reason(
    tmp_path: Path, content: str, attribute: str, message: str
) -> None:
    file = tmp_path / "bad_design.py"
    file.write_text(content)

    with pytest.raises(DesignNotLoadable, match=message):
        registry.load(f"{file}:{attribute}")


def test_a_missing_file_and_a_missing_attribute_have_different_messages() -> None:
    with pytest.raises(DesignNotLoadable, match="there is no file"):
        registry.load("nowhere.py:design")
    with pytest.raises(DesignNotLoadable, match="names a file but no design in it"):
        registry.load("nowhere.py")
