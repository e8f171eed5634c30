"""Applications are found as ``celery -A`` finds them, and in files and directories as well."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.app.utils import find_app

from duetime.errors import BadUsage
from duetime.lint.applications import load
from duetime.lint.rules import lint
from tests.lint.apps import APP_FILE, DAY, HOUR

FILES = {
    "lintp/__init__.py": "",
    "lintp/celery.py": f"from .base import BROKER\n{APP_FILE}",
    "lintp/base.py": "BROKER = 'redis://'",
    "lintp/settings.py": "CELERY_TASK_ACKS_LATE = True",
    "lintinit/__init__.py": APP_FILE,
    "lintscan.py": APP_FILE.replace("app", "queue_of_mails"),
    "linttwo.py": "from celery import Celery\nfirst, second = Celery('one'), Celery('two')",
    "lintmade.py": "from celery import Celery\ndef create_app():\n    return Celery('made')",
    "lintmake.py": "from lintmade import create_app\nqueue = create_app()",
    "lintlazy.py": "from celery import Celery\n"
    "app = Celery('lazy', include=['lintlater'])\napp.autodiscover_tasks(['lintp'], related_name='base')",
    "lintlater.py": "from lintlazy import app\n@app.task(shared=False)\ndef charge(): pass",
    "lintenv.py": "import os\nos.environ['LINT_BROKER']",
    "lintexit.py": "import sys\nsys.exit('no broker')",
    "lintdeep/__init__.py": "",
    "lintdeep/celery.py": "import no_such_library",
    "backend/shop/__init__.py": "",
    "backend/shop/queue.py": APP_FILE,
    "backend/shop/settings.py": "",
    "many/one.py": APP_FILE,
    "many/two.py": APP_FILE,
    "empty/readme.py": "",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the files above; what they import is forgotten afterwards."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield tmp_path
    for name in [name for name in sys.modules if name not in before and name.startswith(("lint", "shop"))]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name", ["lintp", "lintp.celery", "lintp.celery:app", "lintp.celery.app", "lintinit", "lintscan", "lintmake"]
)
def test_what_celery_takes_is_taken(name: str) -> None:
    assert load([name], [])[0].app is find_app(name)


@pytest.mark.parametrize(
    "name",
    ["lintp/celery.py", "./lintp/celery.py:app", "backend", "./backend/", "backend/shop/queue.py", "lintscan.py"],
)
def test_a_file_and_the_directory_of_a_project_are_taken(name: str) -> None:
    assert load([name], [])[0].app.main == "shop"


def test_tasks_that_are_imported_late_are_judged() -> None:
    assert "lintlater.charge" in load(["lintlazy"], [])[0].app.tasks


def test_the_applications_that_celery_passes_over_are_named() -> None:
    def not_judged(*names: str) -> list[str]:
        found = lint(load(names, []), horizon=HOUR, lateness=DAY)
        return [f.consequence for f in found if f.setting == "TARGET"]

    [consequence] = not_judged("linttwo")
    assert consequence.startswith("not judged: linttwo:second, because `celery -A linttwo` takes another")
    assert not_judged("linttwo", "linttwo:second") == []
    assert not_judged("linttwo:first") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lintp/settings.py", "lintp.settings creates no Celery application .* for instance lintp.celery$"),
        ("lintp.settings", "lintp.settings creates no Celery application .* for instance lintp.celery$"),
        ("lintp.celery:queue", "has no 'queue'; write lintp.celery:app$"),
        ("lintmade:create_app", "is a function, and neither .* write a file with the line `app = create_app\\(\\)`"),
        ("lintmade", "creates no Celery application"),
        ("lintenv", "KeyError: 'LINT_BROKER' .*lintenv.py line 2.*set LINT_BROKER for this command as for a worker$"),
        ("lintexit", "SystemExit: no broker"),
        ("lintdeep", "No module named 'no_such_library' .*celery.py line 1.*--python /path/to/venv/bin/python$"),
        ("lintnowhere", "there is no module lintnowhere in /.*: run in the project's directory"),
        ("many", "several files create an application; write one of them: .*/many/one.py, .*/many/two.py$"),
        ("empty", "no file in this directory has a line such as"),
        ("backend:app", "'backend' is a directory; write it alone, or module:app$"),
        ("no/such/place", "there is no such directory"),
    ],
)
def test_a_name_that_is_no_application_is_refused_with_what_to_write(name: str, message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        load([name], [])


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "no_such_module_here:app", "cannot be imported: ModuleNotFoundError"),
        ("", "nowhere.py:app", "there is no file 'nowhere.py'"),
        ("", "lint_used.py:app", "has no 'app'"),
        ("app = 7", "lint_used.py:app", "is of type int, not a celery.Celery"),
        ("raise SystemExit(0)", "lint_used.py:app", "cannot be imported: SystemExit"),
        ("def broken(:", "lint_used.py:app", "cannot be imported: SyntaxError"),
        (
            "from celery import Celery\napp = Celery(broker='carrier-pigeon://coop')",
            "lint_used.py:app",
            "cannot be loaded: KeyError: 'No such transport: carrier-pigeon",
        ),
        (
            "from celery import Celery\napp = Celery(include=['no_such_tasks'])",
            "lint_used.py:app",
            "cannot be loaded: ModuleNotFoundError",
        ),
        ("", "reference", "the design 'reference' runs no Celery worker"),
    ],
)
def test_a_file_that_is_no_application_is_refused(project: Path, content: str, name: str, message: str) -> None:
    (project / "lint_used.py").write_text(content)

    with pytest.raises(BadUsage, match=message):
        load([name], [])


def test_one_target_is_written_once() -> None:
    with pytest.raises(BadUsage, match="write each target once"):
        load(["lintp", "lintp"], [])
