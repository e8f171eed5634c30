"""Contenders: libraries of others behind ``schedule()``, each in a folder and in an environment of its own.

``contenders/NAME/`` holds ``design.py`` with a ``Design``, the library's worker in its own language, and the exact
versions that it needs: ``requirements.txt`` (Python), ``package.json`` (Node) or ``apt.txt`` (Debian).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from duetime.errors import BadUsage, UnknownName

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

PREFIX = "contender:"
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "contenders"
NEEDS_PYTHON = re.compile(r"^# python >= 3\.(\d+)$", re.MULTILINE)
"""The first line of a requirements.txt, if the library needs a newer Python than duetime."""
CLIENT_NEEDS = ("sqlalchemy>=2.0", "psycopg[binary]>=3.2", "click", "python-dateutil", "redis")
"""What a client of duetime imports; it runs in the contender's environment."""
NEWEST_PYTHON = 14

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contender:
    """The folder of a contender, and what its processes need.

    here: the folder. python: the interpreter of its environment; duetime's own if it needs no Python packages.
    """

    here: Path
    python: str

    def environment(self, database_url: str, broker_url: str) -> dict[str, str]:
        """Return the variables by which libraries of any language find their servers and their modules."""
        from sqlalchemy import make_url  # the command line loads this module, and must not wait for that import

        return {
            **libpq_environment(make_url(database_url)),
            "REDIS_URL": broker_url,
            "DUETIME_DATABASE_DSN": plain_url(database_url),
            "PYTHONPATH": os.pathsep.join((str(self.here), str(ROOT))),
            "NODE_PATH": str(cache(self.here.name) / "node_modules"),
        }

    def run(self, script: str, engine: Engine) -> None:
        """Run a Python script of the folder, for instance one that creates the library's tables.

        Raises:
            BadUsage: it failed.
        """
        url = engine.url.render_as_string(hide_password=False)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self.environment(url, "")}
        done = subprocess.run(
            [self.python, str(self.here / script)], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BadUsage(f"{self.here.name}/{script} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def contender(design_file: str) -> Contender:
    """Return the contender whose ``design.py`` this is: ``contender(__file__)``."""
    here = Path(design_file).resolve().parent
    own = cache(here.name) / "venv" / "bin" / "python"
    return Contender(here, str(own) if (here / "requirements.txt").exists() else sys.executable)


def names() -> list[str]:
    """Return the names of all contenders, sorted."""
    return sorted(file.parent.name for file in FOLDER.glob("*/design.py"))


def folder(name: str) -> Path:
    """Return the folder of the contender `name`.

    Raises:
        UnknownName: there is none.
    """
    if name not in names():
        raise UnknownName("contender", name, names())
    return FOLDER / name


def cache(name: str) -> Path:
    """Return the directory of the user's cache into which `name` is installed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "duetime" / "contenders" / name


def missing(name: str) -> str:
    """Return what is missing on this machine to run `name`, and how to get it; empty if nothing is."""
    here = folder(name)
    hint = f"run `duetime contenders install {name}`"
    if (here / "requirements.txt").exists() and not _up_to_date(name, "requirements.txt"):
        return f"its Python packages are not installed; {hint}"
    if (here / "package.json").exists() and not _up_to_date(name, "package.json"):
        return f"its Node packages are not installed; {hint}"
    if absent := _absent_programs(here):
        packages = " ".join(_lines(here / "apt.txt"))
        return f"{', '.join(absent)} not found; as root {hint}, or install Debian's {packages}"
    return ""


def install(name: str, report: Report) -> None:
    """Install what `name` needs into the user's cache. What is there already stays.

    Raises:
        BadUsage: it cannot be had on this machine, with the reason.
    """
    here = folder(name)
    cache(name).mkdir(parents=True, exist_ok=True)
    if (here / "requirements.txt").exists() and not _up_to_date(name, "requirements.txt"):
        _install_python(name, here, report)
    if (here / "package.json").exists() and not _up_to_date(name, "package.json"):
        _install_node(name, here, report)
    if _absent_programs(here):
        _install_debian(name, here, report)
    report(f"{name}: installed")


def _install_python(name: str, here: Path, report: Report) -> None:
    requirements = here / "requirements.txt"
    least = NEEDS_PYTHON.match(requirements.read_text())
    python = _python(int(least[1]) if least else 11, name)
    report(f"{name}: making an environment with {python}")
    venv = cache(name) / "venv"
    shutil.rmtree(venv, ignore_errors=True)  # of an installation that was interrupted
    _call(name, [python, "-m", "venv", str(venv)])
    report(f"{name}: installing {', '.join(_lines(requirements))}")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call(name, [*pip, *CLIENT_NEEDS, "-r", str(requirements)])
    _mark(name, "requirements.txt")


def _install_node(name: str, here: Path, report: Report) -> None:
    npm = shutil.which("npm")
    if not npm:
        raise BadUsage(f"{name} needs Node and npm, which are not on the PATH; install Node 20 or newer")
    report(f"{name}: installing its Node packages")
    for file in ("package.json", "package-lock.json"):
        if (here / file).exists():
            shutil.copy(here / file, cache(name) / file)
    _call(name, [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(cache(name))])
    _mark(name, "package.json")


def _install_debian(name: str, here: Path, report: Report) -> None:
    packages = _lines(here / "apt.txt")
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise BadUsage(f"{name} needs {' '.join(packages)}, which only root can install, with apt-get")
    report(f"{name}: installing {' '.join(packages)} with apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _call(name, ["apt-get", "update", "-qq"], environment)
    _call(name, ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], environment)


def _call(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise BadUsage(f"{name} cannot be installed: {' '.join(command[:4])} … failed:\n" + "\n".join(reason))


def _python(least_minor: int, name: str) -> str:
    """Return the oldest Python of this machine, from 3.`least_minor` on, that can make an environment."""
    if sys.version_info[1] >= least_minor:
        return sys.executable
    for minor in range(least_minor, NEWEST_PYTHON + 1):
        homes = (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python")
        found = shutil.which(f"python3.{minor}")
        for candidate in [*([found] if found else []), *map(str, homes)]:
            if subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
                return candidate
    raise BadUsage(
        f"{name} needs Python 3.{least_minor} or newer, and this machine has none; install python3.{least_minor}"
    )


def _absent_programs(here: Path) -> list[str]:
    """Return the programs of apt.txt that are not on the PATH; a line is ``package: program``."""
    file = here / "apt.txt"
    programs = [line.partition(":")[2].strip() for line in file.read_text().splitlines()] if file.exists() else []
    return [program for program in programs if program and not shutil.which(program)]


def _lines(file: Path) -> list[str]:
    lines = (line.partition(":")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _up_to_date(name: str, file: str) -> bool:
    mark = cache(name) / f"{file}.installed"
    return mark.exists() and mark.read_text() == _wanted(name, file)


def _mark(name: str, file: str) -> None:
    """Record, at the end, what was installed: a changed file or an interruption leads to another installation."""
    (cache(name) / f"{file}.installed").write_text(_wanted(name, file))


def _wanted(name: str, file: str) -> str:
    return "\n".join([*CLIENT_NEEDS, (folder(name) / file).read_text()])


def plain_url(database_url: str) -> str:
    """Return the URL without SQLAlchemy's driver."""
    from sqlalchemy import make_url

    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def libpq_environment(url: URL) -> dict[str, str]:
    """Return the variables of libpq, which most drivers obey, for the database at `url`."""
    parts = {
        "PGHOST": url.host or url.query.get("host"),
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    return {name: str(value) for name, value in parts.items() if value}
