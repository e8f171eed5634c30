"""A run records the versions of a contender's own environment."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from duetime import contenders
from duetime.contender_versions import versions_of
from duetime.contenders import Contender
from tests.each_contender import each_contender


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contender:
    """A contender without a file, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    return Contender(tmp_path / "mine", "/no/such/python")


@pytest.mark.parametrize("name", each_contender(contenders.names()))
def test_an_installed_contender_has_the_versions_that_its_folder_pins(name: str) -> None:
    if reason := contenders.missing(name):
        pytest.skip(reason)
    contender = contenders.contender(str(contenders.folder(name) / "design.py"))

    versions = versions_of(contender)

    assert versions
    assert "unknown" not in versions.values(), versions
    requirements = contender.here / "requirements.txt"
    for line in requirements.read_text().splitlines() if requirements.exists() else []:
        if pin := re.match(r"([\w-]+)(?:\[.*\])?==([\w.]+)", line):
            assert versions[f"{pin[1]} of contender:{name}"] == pin[2]


def test_what_cannot_be_read_is_unknown(mine: Contender, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine.here / "requirements.txt").write_text("rq==3.0.0\n")
    (mine.here / "package.json").write_text(json.dumps({"dependencies": {"graphile-worker": "0.16.6"}}))
    (mine.here / "apt.txt").write_text("no-such-package: no-such-program\n")
    monkeypatch.setenv("PATH", "/nowhere")

    versions = versions_of(mine)

    named = {name.removesuffix(" of contender:mine") for name in versions}
    assert {"python", "rq", "sqlalchemy", "redis", "node", "graphile-worker", "no-such-package"} <= named
    assert set(versions.values()) == {"unknown"}


def test_an_unpacked_package_has_the_version_of_its_changelog(mine: Contender) -> None:
    packages = {"rabbitmq-server": "3.10.8-1.1+deb12u1", "erlang-base": "1:25.2.3", "erlang-ssl": "1:25.2.3"}
    (mine.here / "unpack.txt").write_text("\n".join(packages))
    for name, version in packages.items():
        changelog = contenders.cache("mine") / "unpacked/usr/share/doc" / name / "changelog.Debian.gz"
        changelog.parent.mkdir(parents=True)
        with gzip.open(changelog, "wt") as text:
            text.write(f"{name} ({version}) bookworm; urgency=medium\n")

    assert versions_of(mine) == {
        "rabbitmq-server of contender:mine": "3.10.8-1.1+deb12u1",
        "erlang-base of contender:mine": "1:25.2.3",
    }
