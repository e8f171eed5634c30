"""A saved session: judged from two looks into the design's store, if one could find something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demo.running_demo import read, running
from tests.eventually import assert_eventually

NEVER_DELETES = """
import signal, sys, time
from dataclasses import replace
from pathlib import Path
from sqlalchemy import create_engine, text
from duetime.interface import Notification, Pending, Role
from duetime.reference import CLAIM_ONE, design as reference
from duetime.runtime.gateway import gateway_from
from duetime.settings import Settings

LATER = text("UPDATE reference SET due_at = clock_timestamp() + interval '1 hour' WHERE key = :key")

def pending(settings, engine):
    return [replace(entry, state="held", back_after_s=3600.0) for entry in reference.pending(settings, engine)]

command = (sys.executable, str(Path(__file__).resolve()))
role = Role(name="worker", argv=command, ready="ready")
design = replace(reference, name="never_deletes", roles=[role], pending=pending)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings.from_environment()
    engine, gateway = create_engine(settings.database_url), gateway_from(settings)
    print("ready", flush=True)
    while True:
        with engine.begin() as connection:
            if row := connection.execute(CLAIM_ONE).one_or_none():
                gateway.deliver(Notification.from_stored_json(row.body))
                connection.execute(LATER, {"key": row.key})
        time.sleep(0.05)
"""


@pytest.mark.full  # a demo of its own, whose worker is stopped and started again
def test_a_saved_run_shows_what_the_store_will_hand_out_again(tmp_path: Path) -> None:
    (tmp_path / "never_deletes.py").write_text(NEVER_DELETES)
    with running(tmp_path / "saved", "--designs", f"{tmp_path / 'never_deletes.py'}:design") as demo:
        demo.send("schedule", in_s=1, people=2)
        status, saved = demo.post("/save", {})
        [run] = saved["runs"]

        assert (status, run["outcome"], run["violations"]) == (200, "fail", {"will_repeat": 2})
        # The session goes on with the worker that was stopped for the second look.
        demo.send("schedule", in_s=1, people=1)
        assert_eventually(lambda: read(f"{demo.url}state")["lanes"][0]["counts"]["delivered"] == 3)
