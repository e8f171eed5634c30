"""Find a Celery application as ``celery -A`` does, and in a file or a project directory as well."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from celery import Celery
from celery.app.utils import find_app
from celery.local import maybe_evaluate

from duetime.errors import BadUsage
from duetime.lint.importing import has_module, import_errors, import_file

CREATES_AN_APP = re.compile(r"^\w+(?:\s*:[^=\n]+)?\s*=\s*(?:\w+\.)?Celery\(", flags=re.MULTILINE)
NOT_SEARCHED = {"node_modules", "site-packages", "tests", "venv"}
DEEPEST = 3


def find(name: str) -> Celery:
    """Return the application that `name` names, imported.

    A name is what ``celery -A`` takes (``shop``, ``shop.celery``, ``shop.celery:app``), ``path/to/file.py`` with or
    without ``:app``, or a directory in which one file creates an application.

    Raises:
        BadUsage: nothing of that name, its import fails, or it is not an application.
    """
    # As for ``celery -A``, the working directory comes first.
    sys.path.insert(0, str(Path.cwd()))
    source, _, attribute = name.rpartition(":")
    source, attribute = (source, attribute) if source else (name, "")
    path = Path(source)
    if source.endswith(".py"):
        with import_errors(name, f"{attribute or path.name} cannot be read"):
            return _checked(name, _in_module(name, import_file(name, path), attribute))
    if _is_project(source):
        if attribute:
            raise BadUsage(f"{name!r}: {source!r} is a directory; write it alone, or module:{attribute}")
        with import_errors(name, "its application cannot be read"):
            return _checked(name, _in_module(name, import_file(name, _only_app_file(name, path)), ""))
    if not all(part.isidentifier() for part in source.split(".")):
        raise BadUsage(
            f"{name!r} is not the name of an application, and there is no such directory; "
            "write module:app, path/to/file.py:app, or the directory of the project"
        )
    with import_errors(name, "its application cannot be read"):
        return _checked(name, _by_name(name))


def others(app: Celery) -> dict[str, Celery]:
    """Return the other applications in the modules that have `app`, by ``module:name``."""
    modules = [m for m in list(sys.modules.values()) if isinstance(m, ModuleType) and not _of_celery(m.__name__)]
    found = [(m, apps) for m in modules if app in (apps := _apps(m)).values()]
    return {f"{m.__name__}:{name}": other for m, apps in found for name, other in apps.items() if other is not app}


def _of_celery(module: str) -> bool:
    return module.partition(".")[0] in {"celery", "kombu", "duetime"}


def _apps(module: ModuleType) -> dict[str, Celery]:
    return {name: value for name, value in list(vars(module).items()) if _is_app(value)}


def _is_app(value: object) -> bool:
    # Not isinstance(): it asks a lazy object, such as Django's settings, for its class, which may fail.
    return issubclass(type(value), Celery)


def _is_project(source: str) -> bool:
    path = Path(source)
    is_name = all(part.isidentifier() for part in source.split("."))
    return path.is_dir() and not (is_name and (path / "__init__.py").is_file())


def _only_app_file(name: str, directory: Path) -> Path:
    found = sorted(_app_files(directory.resolve(), DEEPEST))
    if len(found) == 1:
        return found[0]
    if found:
        raise BadUsage(
            f"{name!r}: several files create an application; write one of them: "
            + ", ".join(f"{path}" for path in found[:5])
        )
    raise BadUsage(
        f"{name!r}: no file in this directory has a line such as `app = Celery(…)`; write module:app, or the file that "
        "creates the application"
    )


def _app_files(directory: Path, levels: int) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.name.startswith(".") or path.name in NOT_SEARCHED or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir() and levels:
            yield from _app_files(path, levels - 1)
        elif path.suffix == ".py" and CREATES_AN_APP.search(path.read_text(errors="replace")):
            yield path


def _in_module(name: str, module: ModuleType, attribute: str) -> object:
    if not attribute:
        try:
            return find_app(module.__name__, imp=lambda *_args, **_options: module)
        except AttributeError as error:
            raise _no_app(name, module.__name__) from error
    if not hasattr(module, attribute):
        raise BadUsage(f"{name!r}: {module.__name__} has no {attribute!r}; {_suggestion(module)}")
    return getattr(module, attribute)


def _by_name(name: str) -> object:
    source, _, attribute = name.partition(":")
    with import_errors(name, f"{source} cannot be imported"):
        if attribute:
            return _in_module(name, importlib.import_module(source), attribute)
        try:
            return find_app(name)
        except AttributeError as error:
            if name not in sys.modules:
                raise  # the import itself failed
            if has_module(f"{name}.celery"):
                importlib.import_module(f"{name}.celery")  # raises the error that find_app() hides
            raise _no_app(name, name) from error


def _no_app(name: str, source: str) -> BadUsage:
    package = source.rpartition(".")[0]
    near = f"{package}.celery" if package and has_module(f"{package}.celery") else ""
    what = f"for instance {near}" if near else "for instance module:app"
    return BadUsage(
        f"{name!r}: {source} creates no Celery application (a settings file does not either); "
        f"write the module that does, as for `celery -A`, {what}"
    )


def _suggestion(module: ModuleType) -> str:
    apps = [f"{module.__name__}:{name}" for name in _apps(module)]
    return f"write {' or '.join(apps)}" if apps else "write the name of its Celery application"


def _checked(name: str, found: object) -> Celery:
    found = maybe_evaluate(found)  # celery.current_app is a proxy
    if isinstance(found, Celery):
        return found
    module = sys.modules.get(str(getattr(found, "__module__", "")))
    if callable(found) and not isinstance(found, type) and hasattr(found, "__name__"):
        raise BadUsage(
            f"{name!r} is a function, and neither `celery -A` nor the linter calls it; write a file with the line "
            f"`app = {found.__name__}()` and name that file"
            + (f", or {_suggestion(module).removeprefix('write ')}" if module and _apps(module) else "")
        )
    raise BadUsage(
        f"{name!r} is of type {type(found).__name__}, not a celery.Celery; write the name of the application"
    )
