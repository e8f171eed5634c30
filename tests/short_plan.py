"""The plan of a run of a few seconds, for tests of everything around a run."""

from __future__ import annotations

import json
from pathlib import Path

from duetime.harness.plan.scenario import Scenario
from duetime.harness.plan.workload import unchanged_events
from duetime.history.format import FORMAT


def written_to(file: Path) -> Path:
    """Write the plan to `file`, which a command takes in the place of a scenario's name. Its name is the file's."""
    scenario = Scenario(
        name=file.stem,
        what="",
        demonstrates="",
        hardest_for="",
        operations=lambda random: unchanged_events(random, seconds=1, horizon_s=2, clients=[0]),
    )
    file.write_text(json.dumps({"format": FORMAT, **scenario.plan(1).to_json()}))
    return file
