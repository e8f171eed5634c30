"""Commands that a message tells its reader to type, written so that they run as printed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

PROGRAM = "duetime"


def shell_command(*words: str | Path) -> str:
    """Return ``duetime`` with the arguments `words` as a command for a POSIX shell in the working directory.

    A path that begins with a dash gets ``./`` in front, because it would be read as an option.
    """
    arguments = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    return f"{program()} {shlex.join(arguments)}" if arguments else program()


def program() -> str:
    """Return how a shell starts this duetime, quoted.

    ``duetime`` if the PATH leads to this one, otherwise its path, relative to the working directory if that is shorter.
    """
    # Not resolved: a virtual environment's python is a link to one that has no duetime beside it.
    script = Path(sys.executable).absolute().with_name(PROGRAM)
    if not os.access(script, os.X_OK):
        # Imported from a folder that is on the path, or installed with another layout: the PATH has the best guess.
        return PROGRAM if shutil.which(PROGRAM) else f"{_shortest(Path(sys.executable).absolute())} -m duetime.cli"
    found = shutil.which(PROGRAM)
    # pipx and uv link to the script from a folder on the PATH.
    return PROGRAM if found and Path(found).samefile(script) else _shortest(script)


def pip_install(requirement: str) -> str:
    """Return the command that installs `requirement` where this interpreter finds it."""
    python = Path(sys.executable).absolute()
    found = shutil.which("pip")
    if found and Path(found).absolute().parent == python.parent:
        return f"pip install {shlex.quote(requirement)}"
    # An environment that uv has made has no pip.
    if shutil.which("uv") and not find_spec("pip"):
        return f"uv pip install --python {_shortest(python)} {shlex.quote(requirement)}"
    return f"{_shortest(python)} -m pip install {shlex.quote(requirement)}"


def _shortest(path: Path) -> str:
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working directory is gone
        return shlex.quote(str(path))
    # Without a slash, a shell would search the PATH.
    relative = relative if os.sep in relative else os.path.join(os.curdir, relative)  # noqa: PTH118 - Path drops the "."
    return shlex.quote(min(str(path), relative, key=len))
