"""Finds a design by name: a registered entry point, or an attribute of a Python file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from duetime.contenders import PREFIX, ROOT, folder
from duetime.design_modules import importable, load_file, real_name
from duetime.errors import DesignNotLoadable, UnknownName
from duetime.extras import MissingExtra, needed_by
from duetime.interface import MIGRATION_SEPARATOR, Design
from duetime.pages import DOCS

GROUP = "duetime.designs"
REFERENCE = "reference"


def names() -> list[str]:
    """Return the names of all registered designs, sorted."""
    return sorted(entry_points(group=GROUP).names)


def default_designs() -> list[str]:
    """Return the registered designs without variants and without the reference design."""
    return [name for name in names() if ":" not in name and name != REFERENCE]


def load(name: str) -> Design:
    """Load the design `name`: a registered name, ``path/to/file.py:attribute``, or a migration ``OLD-to-NEW``.

    Raises:
        BadUsage: a migration from OLD to NEW is not possible.
        MissingExtra: the design needs a package of an extra that is not installed.
        UnknownName: no design is registered under `name`.
        DesignNotLoadable: the object cannot be imported, or is not a ``Design``.
    """
    old, to, new = name.partition(MIGRATION_SEPARATOR)
    if to and ".py" not in name:
        from duetime.migration import migration_design  # imports sqlalchemy, which `duetime health` must not wait for

        return migration_design(load(old), load(new))
    if name.startswith(PREFIX):
        return _contender(name)
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _checked(name, _from_file(name, Path(path), attribute))
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        if name.endswith(".py"):
            raise DesignNotLoadable(f"{name!r} names a file but no design in it; write {name}:NAME_OF_THE_DESIGN")
        raise UnknownName("design", name, known)
    with _importing(name):
        found = known[name].load()
    return _checked(name, found)


def absolute(name: str) -> str:
    """Return the name by which a process in another working directory loads the design `name`."""
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).absolute()}:{attribute}" if path.endswith(".py") else name


def search_path(name: str) -> str:
    """Return the folder that the processes of the design `name` need on their path; empty if all is installed."""
    path, _, _ = name.rpartition(":")
    return str(real_name(Path(path))[1]) if path.endswith(".py") else ""


def _contender(name: str) -> Design:
    """Load ``contender:NAME``, or ``contender:NAME:tuned``: an attribute of its ``design.py``."""
    folder_name, _, variant = name.removeprefix(PREFIX).partition(":")
    folder(folder_name)  # refuses an unknown name
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    # Its siblings are on the path of its own processes, so they are here as well.
    with _importing(name), importable(folder(folder_name)):
        module = importlib.import_module(f"contenders.{folder_name}.design")
    found = {key: value for key, value in vars(module).items() if isinstance(value, Design)}
    if (variant or "design") not in found:
        raise UnknownName("variant", variant, [key for key in found if key != "design"])
    return found[variant or "design"]


def _from_file(name: str, path: Path, attribute: str) -> object:
    if not path.is_file():
        raise DesignNotLoadable(f"{name!r}: there is no file {str(path)!r}; check the path")
    with _importing(name):
        module = load_file(path)
    if not hasattr(module, attribute):
        raise DesignNotLoadable(f"{name!r}: {str(path)!r} has no attribute {attribute!r}; write the design's name")
    return getattr(module, attribute)


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Turn each error of an import in this block into one about the design `name`."""
    try:
        with needed_by(f"the design {name!r}"):
            yield
    except (DesignNotLoadable, MissingExtra):
        raise
    except Exception as error:
        hint = ""
        if name.startswith(PREFIX) and isinstance(error, ModuleNotFoundError):
            hint = "; import the library inside functions, because duetime loads design.py without it"
        raise DesignNotLoadable(
            f"the design {name!r} cannot be imported: {type(error).__name__}: {error}{hint}"
        ) from error


def _checked(name: str, found: object) -> Design:
    if not isinstance(found, Design):
        raise DesignNotLoadable(
            f"{name!r} is of type {type(found).__name__}, not a duetime.interface.Design; see {DOCS}/contract.md"
        )
    return found
