"""The linter in the interpreter of a Django project, with the real django-celery-beat and celery-redbeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

LIBRARIES = ["django==5.2.*", "django-celery-beat==2.9.*", "celery-redbeat==2.4.*", "packaging"]
FILES = {
    "shop/__init__.py": "",
    "shop/settings.py": """
SECRET_KEY = "x"
INSTALLED_APPS = ["django_celery_beat", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/no/such/directory/db"}}
CELERY_BROKER_URL = "redis://localhost:1/0"
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
""",
    "shop/checks.py": """
from django.core.checks import register


@register()
def connects(app_configs, **options):
    raise SystemExit("a check of the project ran")
""",
    "shop/celery.py": """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
print("imported")
""",
    "shop/tasks.py": """
from celery import shared_task

from shop import checks


@shared_task
def charge():
    pass
""",
    "red.py": """
import os

from celery import Celery

app = Celery("red", broker="redis://localhost:1/0")
app.conf.update(eval(os.environ.get("RED", "{}")))
app.conf.beat_schedule = {"charge": {"task": "charge", "schedule": 60.0, "options": {"expires": 60}}}
""",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a project: Celery, Django and two schedulers, without duetime."""
    directory = tmp_path_factory.mktemp("project") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    interpreter = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(interpreter)]
    done = subprocess.run(
        [*pip, "install", "--no-compile", *LIBRARIES], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(LIBRARIES)}: {done.stderr.strip().splitlines()[-1]}")
    return interpreter


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def lint(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "duetime.cli", "lint", *arguments, "--horizon", "0s", "--json"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=project, env={**os.environ, **environment}
    )


def beat_warnings(done: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    found = json.loads(done.stdout)["findings"]
    about = ("celery beat", "redbeat")
    return {f["setting"]: f["value"] for f in found if f["level"] == "warning" and f["setting"].startswith(about)}


def test_a_django_project_is_refused_in_the_environment_of_duetime_with_the_way_out(project: Path) -> None:
    done = lint(project, "shop")

    assert done.returncode == 2
    assert "No module named 'django'" in done.stderr
    assert done.stderr.endswith("run the linter in the project's own environment: --python /path/to/venv/bin/python\n")


@pytest.mark.parametrize("target", ["shop", "shop/"])
def test_a_django_project_is_checked_in_its_own_environment(python: Path, project: Path, target: str) -> None:
    done = lint(project, target, "--python", str(python), "--worker", "2x celery -A shop beat")

    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert any(f["consequence"].startswith("shop.tasks.charge: late acknowledgement") for f in findings)
    assert beat_warnings(done) == {"celery beat": "2 processes"}
    assert any("periodic tasks that exist only in Django's database" in f["consequence"] for f in findings)


def test_the_settings_of_redbeats_lock_are_judged(python: Path, project: Path) -> None:
    def found(settings: object, *options: str) -> Mapping[str, Any]:
        command = " ".join(["2x celery -A red beat -S redbeat.RedBeatScheduler", *options])
        arguments = ["--python", str(python), "--lateness", "1h", "--worker", command]
        return beat_warnings(lint(project, "red", *arguments, RED=repr(settings)))

    assert found({}) == {}
    assert found({"redbeat_lock_key": None}) == {"redbeat_lock_key": "None"}
    assert found({"redbeat_lock_timeout": 300}) == {"redbeat_lock_timeout": "300"}
    assert found({"redbeat_lock_timeout": 300}, "--max-interval 60") == {}
    assert found({"redbeat_lock_timeout": 3600}) == {"redbeat_lock_timeout": "3600"}


def test_an_interpreter_without_celery_is_refused(project: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)

    done = lint(project, "red", "--python", str(bare / "bin" / "python"))

    assert (done.returncode, done.stdout) == (2, "")
    assert "Celery cannot be imported there (No module named 'celery')" in done.stderr
