"""The rescue of `oban_style_queue:staged` waits for nobody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from oban_style_queue.variants import staged
from tests.designs.read_model import note

pytestmark = pytest.mark.processes


def test_a_job_whose_row_another_session_has_locked_is_left_alone_and_the_others_are_rescued(engine: Engine) -> None:
    """As after the end of a host that nobody has noticed, which keeps its row locks."""
    staged.metadata.create_all(engine)
    with Session(engine) as session:
        for key in ("vanished", "other"):
            staged.JobsTable().schedule(note(key), session=session)
        session.commit()
    staged.stage(engine, lambda _job: None)
    with engine.connect() as vanished, ThreadPoolExecutor(1) as pool:
        vanished.execute(select(staged.jobs.c.id).where(staged.jobs.c.key == "vanished").with_for_update()).all()
        rescued = pool.submit(staged.rescue, engine, after=timedelta())
        try:
            assert rescued.result(timeout=5) == 1
        finally:
            vanished.rollback()

    assert staged.rescue(engine, after=timedelta()) == 1
