"""Import the modules of a project, and explain why it fails."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from duetime.errors import BadUsage

WITH_PYTHON = "run the linter in the project's own environment: --python /path/to/venv/bin/python"


def import_file(name: str, path: Path, *, source: str = "") -> ModuleType:
    """Import the file at `path`, as a part of its package if it is in one. For `source` see ``import_errors``."""
    if not path.is_file():
        raise BadUsage(f"{name!r}: there is no file {str(path)!r}; check the path")
    path = path.resolve()
    root, module_name = path.parent, path.stem
    while (root / "__init__.py").is_file():
        root, module_name = root.parent, f"{root.name}.{module_name}"
    sys.path.insert(0, str(root))
    if "." in module_name:  # part of a package, whose modules import each other
        with import_errors(name, f"{path.name} cannot be imported", source=source):
            return importlib.import_module(module_name.removesuffix(".__init__"))
    # With a prefix, an app in celery.py does not replace the module `celery`.
    spec = importlib.util.spec_from_file_location(f"duetime_lint_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadUsage(f"{name!r}: Python cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with import_errors(name, f"{path.name} cannot be imported", source=source):
        spec.loader.exec_module(module)
    return module


def has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def import_errors(name: str, problem: str, *, source: str = "") -> Iterator[None]:
    """Turn any exception of the imported code, and its exit, into ``BadUsage`` with its place and advice.

    name: as the user wrote it. source: its part that names a module or a file, if that is not the whole.
    """
    try:
        yield
    except BadUsage:
        raise
    except (Exception, SystemExit) as error:
        sentence = " ".join(str(error).split())
        where = _place(error)
        advice = _advice(source or name, error)
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


def _advice(source: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name == source.partition(":")[0].partition(".")[0]:
            return f"; there is no module {error.name} in {Path.cwd()}: run in the project's directory, or name that"
        return f"; if {error.name} is installed for the project, {WITH_PYTHON}"
    if "DJANGO_SETTINGS_MODULE" in str(error):
        return "; set it for this command as for a worker, for instance DJANGO_SETTINGS_MODULE=shop.settings"
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, KeyError) and files[-1].endswith(("os.py", "<frozen os>")):
        return f"; it is an environment variable: set {error.args[0]} for this command as for a worker"
    return ""
