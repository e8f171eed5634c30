"""Run the linter in the interpreter of a project, which needs the project's libraries, but not duetime or its own.

It takes `duetime` from where this file lies, without the packages beside it: they are not the project's. Arguments: a
JSON request, and a file for the JSON reply. Its standard output belongs to the application that it imports.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OLDEST = (3, 11)


def main() -> None:
    """Answer the request, and end at once: the application may have started threads."""
    request, reply = json.loads(sys.argv[1]), sys.argv[2]
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != HERE]
    sys.argv[:] = ["celery"]
    Path(reply).write_text(json.dumps(_answer(request)), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if sys.version_info < OLDEST:
        version = ".".join(map(str, sys.version_info[:2]))
        return {"error": "{}: it is Python {}; the linter needs 3.11 or later".format(request["python"], version)}
    return _read_library(request) if request.get("library") else _answer_about_celery(request)


def _read_library(request: dict[str, Any]) -> dict[str, Any]:
    """Read the settings of another library; the process that asks judges them."""
    _import_package()
    from duetime.errors import BadUsage
    from duetime.lint.libraries.load import load

    try:
        return load(request["targets"][0]).to_json()
    except BadUsage as error:
        return {"error": str(error)}


def _answer_about_celery(request: dict[str, Any]) -> dict[str, Any]:
    try:
        import celery  # the one library that these rules need
    except ImportError as error:
        return {
            "error": f"{request['python']}: Celery cannot be imported there ({error}); name the project's interpreter "
            "with --python"
        }
    try:
        _import_package()
        from duetime.errors import BadUsage
        from duetime.lint.answer import answer
        from duetime.lint.settings_of import settings_of
    except ImportError as error:
        return {
            "error": f"{request['python']}: the linter cannot use Celery {celery.__version__} there ({error}); "
            "Celery 5.2 or later is needed"
        }
    try:
        if request.get("copy"):
            return settings_of(request["targets"][0], worker=request["worker"], task=request["task"])
        return {"findings": answer(request)}
    except BadUsage as error:
        return {"error": str(error)}


def _import_package() -> None:
    if "duetime" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "duetime", HERE.parent / "__init__.py", submodule_search_locations=[str(HERE.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package in {HERE.parent}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["duetime"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
