"""Find a Celery application as ``celery -A`` does, and in a file or a project directory as well."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from celery import Celery
from celery.app.utils import find_app
from celery.local import maybe_evaluate

from duetime.errors import BadUsage

CREATES_AN_APP = re.compile(r"^\w+(?:\s*:[^=\n]+)?\s*=\s*(?:\w+\.)?Celery\(", flags=re.MULTILINE)
NOT_SEARCHED = {"node_modules", "site-packages", "tests", "venv"}
DEEPEST = 3
WITH_PYTHON = "run the linter in the project's own environment: --python /path/to/venv/bin/python"


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
        return _checked(name, _in_module(name, _import_file(name, path), attribute))
    if _is_project(source):
        if attribute:
            raise BadUsage(f"{name!r}: {source!r} is a directory; write it alone, or module:{attribute}")
        return _checked(name, _in_module(name, _import_file(name, _only_app_file(name, path)), ""))
    if not all(part.isidentifier() for part in source.split(".")):
        raise BadUsage(
            f"{name!r} is not the name of an application, and there is no such directory; "
            "write module:app, path/to/file.py:app, or the directory of the project"
        )
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


def _import_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise BadUsage(f"{name!r}: there is no file {str(path)!r}; check the path")
    path = path.resolve()
    root, module_name = path.parent, path.stem
    while (root / "__init__.py").is_file():
        root, module_name = root.parent, f"{root.name}.{module_name}"
    sys.path.insert(0, str(root))
    if "." in module_name:  # part of a package, whose modules import each other
        with import_errors(name, f"{path.name} cannot be imported"):
            return importlib.import_module(module_name.removesuffix(".__init__"))
    # With a prefix, an app in celery.py does not replace the module `celery`.
    spec = importlib.util.spec_from_file_location(f"duetime_lint_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadUsage(f"{name!r}: Python cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with import_errors(name, f"{path.name} cannot be imported"):
        spec.loader.exec_module(module)
    return module


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
            if _has_module(f"{name}.celery"):
                importlib.import_module(f"{name}.celery")  # raises the error that find_app() hides
            raise _no_app(name, name) from error


def _no_app(name: str, source: str) -> BadUsage:
    package = source.rpartition(".")[0]
    near = f"{package}.celery" if package and _has_module(f"{package}.celery") else ""
    what = f"for instance {near}" if near else "for instance module:app"
    return BadUsage(
        f"{name!r}: {source} creates no Celery application (a settings file does not either); "
        f"write the module that does, as for `celery -A`, {what}"
    )


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


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


@contextmanager
def import_errors(name: str, problem: str) -> Iterator[None]:
    """Turn any exception of the imported code, and its exit, into ``BadUsage`` with its place and advice."""
    try:
        yield
    except BadUsage:
        raise
    except (Exception, SystemExit) as error:
        sentence = " ".join(str(error).split())
        where = _place(error)
        advice = _advice(name, error)
        raise BadUsage(f"{name!r}: {problem}: {type(error).__name__}: {sentence}{where}{advice}") from error


def _place(error: BaseException) -> str:
    """Return the line of the project that raised `error`: the last that belongs to no library."""
    libraries = (str(Path(traceback.__file__).parent), str(Path(__file__).parents[1]), "<")
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(libraries) and "site-packages" not in frame.filename
    ]
    return f" ({own[-1].filename} line {own[-1].lineno})" if own else ""


def _advice(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name == name.partition(":")[0].partition(".")[0]:
            return f"; there is no module {error.name} in {Path.cwd()}: run in the project's directory, or name that"
        return f"; if {error.name} is installed for the project, {WITH_PYTHON}"
    if "DJANGO_SETTINGS_MODULE" in str(error):
        return "; set it for this command as for a worker, for instance DJANGO_SETTINGS_MODULE=shop.settings"
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, KeyError) and files[-1].endswith(("os.py", "<frozen os>")):
        return f"; it is an environment variable: set {error.args[0]} for this command as for a worker"
    return ""
