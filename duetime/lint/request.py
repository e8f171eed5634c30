"""A request to the linter and its reply as JSON, because the linter runs in the interpreter of the project."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from duetime.errors import BadUsage
from duetime.lint import inside
from duetime.lint.finding import Finding


def run(request: Mapping[str, Any]) -> list[Finding]:
    """Return the findings that answer `request`; raises as `ask` does."""
    found = ask(request)["findings"]
    return [Finding(**{**finding, "see": tuple(finding["see"]), "run": tuple(finding["run"])}) for finding in found]


def ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer `request` in a process of its interpreter ``request["python"]``.

    Raises:
        BadUsage: the interpreter does not start or lacks the library, or an argument is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="duetime-lint-") as directory:
        reply = Path(directory, "reply.json")
        command = [request["python"], inside.__file__, json.dumps(request), str(reply)]
        try:
            # What the application prints goes to the standard error (2), because the output of the linter may be JSON.
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
        except OSError as error:
            raise BadUsage(
                f"--python {request['python']!r} does not start ({error.strerror}); write the path of an interpreter, "
                "for instance venv/bin/python"
            ) from error
        if not reply.exists():
            raise BadUsage(
                f"{', '.join(request['targets'])}: the process that imported it ended with status {done.returncode} "
                "before the linter could answer; its import must not end the process"
            )
        answered: dict[str, Any] = json.loads(reply.read_text(encoding="utf-8"))
    if "error" in answered:
        raise BadUsage(answered["error"])
    return answered
