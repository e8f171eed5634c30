"""Installing a contender: interrupted it is repeated, two at once wait for each other, a refusal says why."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from duetime import contender_install, contenders
from duetime.cli.contenders import contenders_group
from duetime.errors import BadUsage
from duetime.harness.processes.embedded_servers import unprivileged
from tests.eventually import assert_eventually

INSTALL = """
import sys
from pathlib import Path
from duetime import contender_install, contenders
contenders.FOLDER, contender_install.CLIENT_NEEDS = Path(sys.argv[1]), ()
contender_install.install("mine", lambda line: print(line, flush=True))
"""
NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a contender, and an empty cache."""
    folder = tmp_path / "contenders" / "mine"
    folder.mkdir(parents=True)
    (folder / "design.py").write_text("")
    monkeypatch.setattr(contenders, "FOLDER", folder.parent)
    monkeypatch.setattr(contender_install, "CLIENT_NEEDS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("PIP_CONFIG_FILE", "NPM_CONFIG_USERCONFIG"):
        monkeypatch.setenv(variable, "/dev/null")
    return folder


@pytest.fixture
def wheel(mine: Path, tmp_path: Path) -> str:
    """A requirement that needs no network: the wheel of a package with one module."""
    (mine / "requirements.txt").touch()
    if reason := contender_install.obstacle("mine"):
        pytest.skip(reason)
    file = tmp_path / "found_module-1.0-py3-none-any.whl"
    info = "found_module-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("found_module.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: found-module\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"found-module @ {file.as_uri()}\n"


def started(folder: Path) -> subprocess.Popen[str]:
    """`duetime contenders install mine` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", INSTALL, str(folder.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def works() -> bool:
    python = contenders.cache("mine") / "venv" / "bin" / "python"
    return subprocess.run([python, "-c", "import found_module"], check=False).returncode == 0


def nothing(line: str) -> None:
    """Report to nobody."""


@pytest.mark.processes
def test_an_installation_that_is_killed_is_repeated_after_its_children_have_ended(
    mine: Path, wheel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contender_install, "PROGRESS_EVERY_S", 0.2)
    (mine / "requirements.txt").write_text(wheel)
    with started(mine) as killed:
        assert_eventually((contenders.cache("mine") / "venv" / "bin" / "python").exists, within_s=30)
        killed.send_signal(signal.SIGKILL)
        killed.wait()

        assert contenders.missing("mine")
        reports: list[str] = []
        contender_install.install("mine", reports.append)

    assert "waiting for another process" in reports[0]
    assert any("venv, for" in line for line in reports[1:-1]), "no progress was reported"
    assert not contenders.missing("mine")
    assert works()


@pytest.mark.processes
def test_of_two_installations_at_once_one_waits_for_the_other(mine: Path, wheel: str) -> None:
    (mine / "requirements.txt").write_text(wheel)
    with started(mine) as first, started(mine) as second:
        printed = [process.communicate(timeout=120)[0] for process in (first, second)]

    assert [first.returncode, second.returncode] == [0, 0], printed
    assert sorted("waiting for another process" in text for text in printed) == [False, True]
    assert sorted("installing found-module" in text for text in printed) == [False, True]
    assert works()


@pytest.mark.processes
def test_without_a_network_the_index_is_named_and_nothing_counts_as_installed(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = mine / "requirements.txt"
    requirements.write_text("click==8.1.8\n")
    if reason := contender_install.obstacle("mine"):
        pytest.skip(reason)
    python = contenders.cache("mine") / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    contenders.mark_of("mine", "requirements.txt").write_text(contenders.wanted("mine", "requirements.txt"))
    assert not contenders.missing("mine")

    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    requirements.write_text("no-such-package-of-duetime==1.0\n")
    with pytest.raises(BadUsage, match=r"no network: .* reached no package index"):
        contender_install.install("mine", nothing)
    requirements.write_text("click==8.1.8\n")

    # The environment of the first version was removed, so its mark must be gone as well.
    assert contenders.missing("mine")


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("requirements.txt", "# python >= 3.99\nclick==8.1.8\n", "needs Python 3.99 or newer"),
        ("package.json", "{}", "needs Node and npm"),
        ("apt.txt", "no-such-package: no-such-program\n", "no-such-package, and this machine has no apt-get"),
    ],
)
def test_what_this_machine_lacks_is_said_before_anything_is_tried(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str, text: str, reason: str
) -> None:
    (mine / file).write_text(text)
    monkeypatch.setenv("PATH", str(mine))

    with pytest.raises(BadUsage, match=reason):
        contender_install.install("mine", nothing)
    contenders_group.main([], standalone_mode=False)

    listed = capsys.readouterr().out
    assert "not installed, and cannot be here: it needs" in listed


def test_only_root_installs_debian_packages(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "apt.txt").write_text("no-such-package: no-such-program\n")
    apt = mine / "apt-get"
    apt.touch()
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(mine))
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(BadUsage, match="no-such-package, which only root can install"):
        contender_install.install("mine", nothing)


def test_an_environment_whose_python_was_removed_is_not_installed(mine: Path) -> None:
    (mine / "requirements.txt").write_text("click==8.1.8\n")
    python = contenders.cache("mine") / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    contenders.mark_of("mine", "requirements.txt").write_text(contenders.wanted("mine", "requirements.txt"))
    python.symlink_to(mine / "python3.99")

    assert contenders.missing("mine")


def test_a_cache_that_cannot_be_written_is_named(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(mine / "design.py"))

    with pytest.raises(BadUsage, match="set XDG_CACHE_HOME"):
        contender_install.install("mine", nothing)


@pytest.mark.processes
@pytest.mark.parametrize(
    "lists", ["", pytest.param('Dir::State::lists "/nowhere";', marks=pytest.mark.full, id="without lists of packages")]
)
def test_debian_packages_are_unpacked_by_a_user_who_is_not_root(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: str
) -> None:
    (tmp_path / "apt.conf").write_text(lists)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    (mine / "unpack.txt").write_text("netbase\n")
    if reason := contender_install.obstacle("mine"):
        pytest.skip(reason)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o777)

    done = subprocess.run(
        [*unprivileged(), sys.executable, "-c", INSTALL, str(mine.parent)], capture_output=True, text=True, check=False
    )
    if "no network" in done.stderr:
        pytest.skip(done.stderr)

    assert not contenders.missing("mine"), done.stdout + done.stderr
    unpacked = contenders.contender(str(mine / "design.py")).unpacked
    assert "tcp" in (unpacked / "etc" / "protocols").read_text()
    assert not list(contenders.cache("mine").glob("download-*"))


@pytest.mark.full  # renewing the lists of packages takes 20 s
@pytest.mark.processes
def test_a_debian_package_that_does_not_exist_is_named(mine: Path) -> None:
    (mine / "unpack.txt").write_text("no-such-package-of-duetime\n")
    if reason := contender_install.obstacle("mine"):
        pytest.skip(reason)

    with pytest.raises(BadUsage, match=r"no-such-package-of-duetime|no network"):
        contender_install.install("mine", nothing)
    assert "are not unpacked" in contenders.missing("mine")
