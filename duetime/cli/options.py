"""What several commands ask for, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click

from duetime import registry
from duetime.errors import BadUsage
from duetime.interface import Design

OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where run directories are made.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
SEED = click.option("--seed", default=1, show_default=True, help="The same seed makes the same plan for every design.")


def loaded(names: Sequence[str]) -> Mapping[str, Design]:
    designs = {name: registry.load(name) for name in names}
    if len({design.name for design in designs.values()}) < len(names):
        raise BadUsage(f"two of {', '.join(names)} are the same design, or have the same name; name each once")
    return designs


def new_directory(out: Path) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        directory = out / f"{stamp}{suffix}"
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise BadUsage(f"--out {str(out)!r}: cannot make {str(directory)!r} ({error.strerror})") from error
        return directory
    raise BadUsage(f"--out {str(out)!r} is in use by too many runs of this second; try again")


def listed(option: str, names: str) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    if (names and not found) or len(set(found)) < len(found):
        raise BadUsage(f"{option} {names!r}: write names with commas between them, each once")
    return found
