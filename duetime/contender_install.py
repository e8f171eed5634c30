"""Installs what contenders need into the user's cache: one at a time, repeated after an interruption, with progress."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from duetime.contenders import CLIENT_NEEDS, absent_programs, cache, folder, lines_of, mark_of, up_to_date, wanted
from duetime.errors import BadUsage

NEEDS_PYTHON = re.compile(r"^# python >= 3\.(\d+)$", re.MULTILINE)
"""The first line of a requirements.txt, if the library needs a newer Python than duetime."""
NEWEST_PYTHON = 14
OLDEST_PYTHON = 11
PROGRESS_EVERY_S = 5.0
UNREACHABLE = re.compile(
    r"connection refused|name resolution|could not resolve|unreachable|timed out|failed to establish a new connection"
    r"|\bE(NOTFOUND|CONNREFUSED|AI_AGAIN|NETUNREACH|TIMEDOUT)\b|dns error|error sending request|temporary failure"
    r"|cannot initiate the connection",
    re.IGNORECASE,
)
"""What pip, uv, npm and apt-get print when they reach no server."""

Report = Callable[[str], None]


def install(name: str, report: Report) -> None:
    """Install what `name` needs. What is there already stays; an installation that was interrupted is repeated.

    Raises:
        BadUsage: it cannot be had on this machine, with the reason.
    """
    here = folder(name)
    with _locked(name, report) as lock:
        if reason := obstacle(name):
            raise BadUsage(reason)
        work = _Installation(name, here, report, lock)
        if _is_due(name, "requirements.txt"):
            work.python_packages()
        if _is_due(name, "package.json"):
            work.node_packages()
        if _is_due(name, "unpack.txt"):
            work.unpacked_packages()
        if absent_programs(here):
            work.debian_packages()
    report(f"{name}: installed")


def obstacle(name: str) -> str:
    """Return why `name` cannot be installed on this machine, and what would help; empty if nothing is known."""
    here = folder(name)
    if _is_due(name, "requirements.txt") and not shutil.which("uv"):
        least = _least_python(here)
        if not _python(least):
            return (
                f"it needs Python 3.{least} or newer with its module venv, and this machine has none; "
                f"install python3.{least} and python3.{least}-venv, or uv"
            )
    if _is_due(name, "package.json") and not shutil.which("npm"):
        return "it needs Node and npm, which are not on the PATH; install Node 20 or newer"
    if _is_due(name, "unpack.txt") and (absent := [tool for tool in ("apt-get", "dpkg") if not shutil.which(tool)]):
        return f"it needs Debian's {', '.join(lines_of(here / 'unpack.txt')[:1])}, and this machine has no {absent[0]}"
    if absent_programs(here):
        packages = " ".join(lines_of(here / "apt.txt"))
        if not shutil.which("apt-get"):
            return f"it needs Debian's {packages}, and this machine has no apt-get"
        if os.geteuid() != 0:
            return f"it needs Debian's {packages}, which only root can install"
    return ""


def _is_due(name: str, file: str) -> bool:
    return (folder(name) / file).exists() and not up_to_date(name, file)


@contextmanager
def _locked(name: str, report: Report) -> Iterator[int]:
    """Let one process install `name`. Yields the lock, for the children: one that outlives its parent still holds it.

    Raises:
        BadUsage: the cache cannot be written.
    """
    try:
        cache(name).mkdir(parents=True, exist_ok=True)
        lock = (cache(name) / "install.lock").open("a")
    except OSError as error:
        raise BadUsage(f"{cache(name)} cannot be written ({error.strerror}); set XDG_CACHE_HOME") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{name}: waiting for another process that installs it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@dataclass(frozen=True, slots=True)
class _Installation:
    """One installation, under the lock. An earlier mark is removed before anything is changed."""

    name: str
    here: Path
    report: Report
    lock: int

    def python_packages(self) -> None:
        mark_of(self.name, "requirements.txt").unlink(missing_ok=True)
        uv = shutil.which("uv")
        if not uv:
            self._with_pip()
        else:
            try:
                self._with_uv(uv)
            except BadUsage as error:
                if not _python(_least_python(self.here)):
                    raise
                # uv does not read pip's configuration, which may name the only index that can be reached.
                self.report(f"{self.name}: pip is tried, because {error}")
                self._with_pip()
        self._mark("requirements.txt")

    def _with_uv(self, uv: str) -> None:
        least = _least_python(self.here)
        venv = self._empty_venv()
        self._call([uv, "venv", "--python", _python(least) or f"3.{least}", str(venv)])
        packages = [*CLIENT_NEEDS, "-r", str(self.here / "requirements.txt")]
        self._call([uv, "pip", "install", "--python", str(venv / "bin" / "python"), *packages])

    def _with_pip(self) -> None:
        venv, python = self._empty_venv(), _python(_least_python(self.here))
        self._call([python, "-m", "venv", str(venv)])
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--retries", "1"]
        self._call([*pip, *CLIENT_NEEDS, "-r", str(self.here / "requirements.txt")])

    def _empty_venv(self) -> Path:
        venv = cache(self.name) / "venv"
        shutil.rmtree(venv, ignore_errors=True)
        self.report(f"{self.name}: installing {', '.join(lines_of(self.here / 'requirements.txt'))}")
        return venv

    def node_packages(self) -> None:
        mark_of(self.name, "package.json").unlink(missing_ok=True)
        shutil.rmtree(cache(self.name) / "node_modules", ignore_errors=True)
        for file in ("package.json", "package-lock.json"):
            if (self.here / file).exists():
                shutil.copy(self.here / file, cache(self.name) / file)
        self.report(f"{self.name}: installing its Node packages")
        quietly = ["--no-audit", "--no-fund", "--fetch-retries=1"]
        self._call(["npm", "install", *quietly, "--prefix", str(cache(self.name))])
        self._mark("package.json")

    def unpacked_packages(self) -> None:
        """Download and unpack Debian packages, which needs no root: the lists of packages may be the user's own."""
        mark_of(self.name, "unpack.txt").unlink(missing_ok=True)
        packages, unpacked = lines_of(self.here / "unpack.txt"), cache(self.name) / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        self.report(f"{self.name}: unpacking Debian's {' '.join(packages)}")
        with TemporaryDirectory(dir=cache(self.name), prefix="download-") as directory:
            try:
                self._call(["apt-get", "download", *packages], directory=directory)
            except BadUsage:
                # The machine has no lists, or old ones; only root may renew them.
                own = [f"Dir::State::lists={directory}/lists", f"Dir::Cache={directory}/cache", "Acquire::Retries=1"]
                for place in ("lists/partial", "cache/archives/partial"):
                    (Path(directory) / place).mkdir(parents=True)
                options = [part for option in own for part in ("-o", option)]
                self._call(["apt-get", *options, "update", "-qq"], directory=directory)
                self._call(["apt-get", *options, "download", *packages], directory=directory)
            for file in sorted(Path(directory).glob("*.deb")):
                self._call(["dpkg", "-x", str(file), str(unpacked)])
        self._mark("unpack.txt")

    def debian_packages(self) -> None:
        packages = lines_of(self.here / "apt.txt")
        self.report(f"{self.name}: installing {' '.join(packages)} with apt-get")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        wait = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=1"]
        self._call(["apt-get", *wait, "update", "-qq"], environment)
        self._call(["apt-get", *wait, "install", "-y", "--no-install-recommends", *packages], environment)

    def _mark(self, file: str) -> None:
        """Record, at the end, what was installed. Renamed into its place, so that no part of it is ever read."""
        mark = mark_of(self.name, file)
        draft = mark.with_suffix(".new")
        draft.write_text(wanted(self.name, file))
        draft.replace(mark)

    def _call(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, directory: str | None = None
    ) -> None:
        """Run `command` and report, every few seconds, the last line that it printed.

        Raises:
            BadUsage: it failed.
        """
        with subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self.lock,),
            start_new_session=True,
        ) as process:
            try:
                printed = self._followed(process, _tool(command))
            except BaseException:
                # Ctrl-C or SIGTERM: pip and npm have children of their own.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            raise BadUsage(_reason(command, printed))

    def _followed(self, process: subprocess.Popen[bytes], tool: str) -> list[str]:
        """Return the lines that `process` printed until it closed its output."""
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        started = reported = time.monotonic()
        printed = b""
        while True:
            if select.select([process.stdout], [], [], PROGRESS_EVERY_S)[0]:
                if not (chunk := os.read(process.stdout.fileno(), 65536)):
                    return _lines(printed)
                printed += chunk
            if (now := time.monotonic()) - reported >= PROGRESS_EVERY_S:
                reported = now
                last = next(reversed(_lines(printed[-1000:])), "it has printed nothing yet")
                self.report(f"{self.name}: {tool}, for {now - started:.0f} s: {last[:80]}")


def _lines(printed: bytes) -> list[str]:
    lines = (line.strip() for line in printed.decode(errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith("WARNING: Location")]


def _tool(command: Sequence[str]) -> str:
    return command[2] if command[1] == "-m" else Path(command[0]).name


def _reason(command: Sequence[str], printed: Sequence[str]) -> str:
    if unreachable := [found[0] for line in printed for found in UNREACHABLE.finditer(line)]:
        return (
            f"no network: {_tool(command)} reached no package index ({unreachable[-1]}); "
            "restore the connection, or check the index in the tool's configuration"
        )
    return f"{_tool(command)} failed:\n" + "\n".join(printed[-5:])


def _least_python(here: Path) -> int:
    least = NEEDS_PYTHON.match((here / "requirements.txt").read_text())
    return int(least[1]) if least else OLDEST_PYTHON


def _python(least_minor: int) -> str:
    """Return a Python of this machine from 3.`least_minor` on that can make an environment; empty if there is none.

    That of duetime, if it is new enough; otherwise the oldest one.
    """
    candidates = [sys.executable] if sys.version_info[1] >= least_minor else []
    for minor in range(least_minor, NEWEST_PYTHON + 1):
        homes = (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python")
        candidates += [found for found in [shutil.which(f"python3.{minor}")] if found] + [*map(str, homes)]
    return next(filter(_makes_environments, candidates), "")


def _makes_environments(python: str) -> bool:
    # Debian has ensurepip in a package of its own.
    check = subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True, check=False)
    return check.returncode == 0
