"""Contenders: libraries of others behind ``schedule()``, each in a folder and in an environment of its own.

``contenders/NAME/`` holds ``design.py`` with a ``Design``, the library's worker in its own language, and the exact
versions that it needs: ``requirements.txt`` (Python), ``package.json`` (Node), ``apt.txt`` (Debian's packages) or
``unpack.txt`` (Debian's packages, unpacked into the user's cache and not installed, so without root).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from duetime.errors import BadUsage, UnknownName
from duetime.pages import SOURCE
from duetime.shell_command import shell_command

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from duetime.settings import Settings

PREFIX = "contender:"
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "contenders"
CLIENT_NEEDS = ("sqlalchemy>=2.0", "psycopg[binary]>=3.2", "click", "python-dateutil", "redis")
"""What a client of duetime imports; it runs in the contender's environment."""
INSTALLED = {"requirements.txt": "venv/bin/python", "package.json": "node_modules", "unpack.txt": "unpacked"}
"""What each of these files leads to, in the contender's directory of the cache."""


@dataclass(frozen=True, slots=True)
class Contender:
    """The folder of a contender, and what its processes need.

    here: the folder. python: the interpreter of its environment; duetime's own if it needs no Python packages.
    """

    here: Path
    python: str

    @property
    def unpacked(self) -> Path:
        """The directory into which the packages of ``unpack.txt`` are unpacked: its ``usr`` is Debian's ``/usr``."""
        return cache(self.here.name) / "unpacked"

    @property
    def has_own_python(self) -> bool:
        """True if it needs Python packages, so that its processes do not run in duetime's interpreter."""
        return (self.here / "requirements.txt").exists()

    @property
    def python_path(self) -> str:
        """Where its Python processes find the modules of the folder, and duetime."""
        return os.pathsep.join((str(self.here), str(ROOT)))

    def environment(self, database_url: str, broker_url: str) -> dict[str, str]:
        """Return the variables by which libraries of any language find their servers and their modules."""
        from sqlalchemy import make_url  # the command line loads this module, and must not wait for that import

        return {
            **libpq_environment(make_url(database_url)),
            "REDIS_URL": broker_url,
            "DUETIME_DATABASE_DSN": plain_url(database_url),
            "PYTHONPATH": self.python_path,
            "NODE_PATH": str(cache(self.here.name) / "node_modules"),
        }

    def places(self, settings: Settings) -> dict[str, str]:
        """Return what stands in a command for ``{python}``, ``{here}``, ``{database}`` and ``{broker}``."""
        return {**places_of(settings), "python": self.python, "here": str(self.here)}

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


def check_present() -> None:
    """Check that there are contenders at all.

    Raises:
        BadUsage: there are none, because duetime was installed as a package.
    """
    if not names():
        raise BadUsage(
            f"there are no contenders in {str(FOLDER)!r}: they are folders of duetime's source, and no part of the "
            f"package; clone {SOURCE} and run `make setup` in it"
        )


def folder(name: str) -> Path:
    """Return the folder of the contender `name`.

    Raises:
        UnknownName: there is none.
        BadUsage: there are no contenders.
    """
    check_present()
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
    hint = f"run `{shell_command('contenders', 'install', name)}`"
    if (here / "requirements.txt").exists() and not up_to_date(name, "requirements.txt"):
        return f"its Python packages are not installed; {hint}"
    if (here / "package.json").exists() and not up_to_date(name, "package.json"):
        return f"its Node packages are not installed; {hint}"
    if (here / "unpack.txt").exists() and not up_to_date(name, "unpack.txt"):
        return f"its Debian packages are not unpacked; {hint}"
    if absent := absent_programs(here):
        packages = " ".join(lines_of(here / "apt.txt"))
        return f"{', '.join(absent)} not found; as root {hint}, or install Debian's {packages}"
    return ""


def absent_programs(here: Path) -> list[str]:
    """Return the programs of apt.txt that are not on the PATH; a line is ``package: program``."""
    file = here / "apt.txt"
    programs = [line.partition(":")[2].strip() for line in file.read_text().splitlines()] if file.exists() else []
    return [program for program in programs if program and not shutil.which(program)]


def lines_of(file: Path) -> list[str]:
    """Return the packages that `file` names."""
    lines = (line.partition(":")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def up_to_date(name: str, file: str) -> bool:
    """Return True if what `file` of the folder names was installed to the end, and is still there."""
    mark = mark_of(name, file)
    try:
        done = mark.read_text() == wanted(name, file)
    except FileNotFoundError:
        return False
    # The interpreter is a link to a Python that may have been removed since.
    return done and (cache(name) / INSTALLED[file]).exists()


def mark_of(name: str, file: str) -> Path:
    """Return the file that records, once an installation is complete, what was installed."""
    return cache(name) / f"{file}.installed"


def wanted(name: str, file: str) -> str:
    """Return the contents of the mark: a changed file leads to another installation."""
    return "\n".join([*CLIENT_NEEDS, (folder(name) / file).read_text()])


def places_of(settings: Settings) -> dict[str, str]:
    """Return what stands in a command of any design for ``{python}``, ``{database}`` and ``{broker}``."""
    return {
        "python": sys.executable,
        "database": plain_url(settings.database_url),
        "broker": settings.broker_url,
    }


def filled(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with the value of each name in `places` instead of the name in braces."""
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


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
