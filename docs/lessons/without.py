"""Delete a line of the application, in a copy, and run the tests of the address: ``without.py 'TEXT OF THE LINE'``."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = "duetime/app/use_cases.py"
TEST = ("tests/designs/test_application.py", "-k", "address")


def copy_without(text: str, copy: Path) -> str:
    """Copy what the tests need to `copy`, with the line that contains `text` deleted. Return the line."""
    for name in ("conftest.py", "pyproject.toml", "tests"):
        (copy / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "duetime", copy / "duetime")
    lines = (copy / FILE).read_text().splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if text and text in line]
    if len(found) != 1:
        sys.exit(f"{len(found)} lines of {FILE} contain {text!r}; name exactly one")
    deleted = lines[found[0]]
    # The line's place stays, so that a block is never empty.
    lines[found[0]] = deleted[: len(deleted) - len(deleted.lstrip())] + "pass\n"
    (copy / FILE).write_text("".join(lines))
    return deleted.strip()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        deleted = copy_without(" ".join(sys.argv[1:]), Path(name))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TEST],
            cwd=name,
            env={**os.environ, "PYTHONPATH": name},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1) or "error" in done.stdout.splitlines()[-1]:
        sys.exit(f"Not this one: without {deleted!r} the application does not run.")
    if done.returncode == 0:
        print(f"Not this one: without {deleted!r} the reminders still get the new address.")
    else:
        print(f"Right: without {deleted!r} the old address stays, and this fails:")
        print(next(line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")))
