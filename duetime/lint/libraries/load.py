"""Read the settings that a target of a library names: from an object of the project, or from a file."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from duetime.errors import BadUsage
from duetime.lint.importing import has_module, import_errors, import_file
from duetime.lint.libraries.catalogue import LIBRARIES
from duetime.lint.libraries.declaration import Found, Library


def load(target: str) -> Found:
    """Read what `target` names, as in ``rq:shop.worker:worker``. Imports it into this process.

    Raises:
        BadUsage: it cannot be imported, or is no object of the library that has settings.
    """
    name, _, source = target.partition(":")
    library = LIBRARIES[name]
    sys.path.insert(0, str(Path.cwd()))  # as for a worker, the working directory comes first
    found = _object(target, source)
    with import_errors(target, "its settings cannot be read", source=source):
        read = library.read(found) if library.read else None
    if read is None:
        raise BadUsage(
            f"{target!r} is a {type(found).__name__}; write {library.reads}, or `{name}` alone with --set NAME=VALUE"
        )
    return replace(read, version=_version(name))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def read_file(library: Library, target: str) -> Found:
    """Read the configuration file that `target` names.

    Raises:
        BadUsage: it cannot be read.
    """
    path = Path(target.partition(":")[2])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"{target!r}: {str(path)!r} cannot be read ({error}); check the path") from error
    if library.parse is None:
        raise BadUsage(f"{target!r}: {library.title} has no such file")
    try:
        return library.parse(text)
    except ValueError as error:
        raise BadUsage(f"{target!r}: {str(path)!r} is not in the form of such a file: {error}") from error


def _object(target: str, source: str) -> Any:
    """Return the object, or its module if `source` names no object: ``module:object``, ``file.py:object``."""
    module_name, _, attribute = source.partition(":")
    if module_name.endswith(".py"):
        found: Any = import_file(target, Path(module_name), source=source)
    elif not all(part.isidentifier() for part in module_name.split(".")):
        raise BadUsage(
            f"{target!r}: {module_name!r} is not the name of a module; write module:object or file.py:object"
        )
    else:
        with import_errors(target, f"{module_name} cannot be imported", source=source):
            # As libraries take it, `shop.worker.settings` may be an object of `shop.worker`, which this imports.
            if not attribute and "." in module_name and not has_module(module_name):
                module_name, _, attribute = module_name.rpartition(".")
            found = importlib.import_module(module_name)
    with import_errors(target, f"{attribute} cannot be read", source=source):
        for part in attribute.split(".") if attribute else ():
            if not hasattr(found, part):
                raise BadUsage(f"{target!r}: {module_name} has no {attribute!r}; check the name")
            found = getattr(found, part)
    return found
