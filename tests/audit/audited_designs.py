"""Designs that audit their run's database when the harness asks what is still pending in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine

from duetime.audit import DELIVERED, PROMISED, Instants, Request, Terms, Wanted, audit
from duetime.interface import Design, Pending
from duetime.registry import load
from duetime.settings import Settings
from tests.commands import json_lines

# A day of the application is a second of the run, and a wage is due after three days.
PROMISED_QUERY = """
    SELECT 'pay-errand:' || id AS key, revision, began_at + interval '3 seconds' AS due
    FROM errands WHERE status IN ('open', 'paid')
"""
DELIVERED_QUERY = """
    SELECT substring(op FROM '^(.*)/') AS key, substring(op FROM '/(\\d+)$')::integer AS revision, at FROM effects
"""


def audited(name: str) -> Design:
    base = load(name)

    def pending(settings: Settings, engine: Engine) -> Sequence[Pending]:
        run_dir = settings.deliveries.parent
        plan = json.loads((run_dir / "plan.json").read_text())
        profile = plan["profile"]
        wall_ns = plan["started"]["wall_ns"] - plan["started"]["mono_ns"]
        phases = {line["phase"]: line["at_ns"] + wall_ns for line in json_lines(run_dir / "faults.jsonl")}
        request = Request(
            promised=PROMISED_QUERY,
            delivered=DELIVERED_QUERY,
            promised_wanted=Wanted("promised", PROMISED),
            delivered_wanted=Wanted("delivered", DELIVERED),
            database=settings.database_url,
            instants=Instants(),
            terms=Terms(
                lateness_limit_ns=int(profile["lateness_limit_s"] * 1e9),
                clock_tolerance_ns=50_000_000,
                outages=((phases["inject"], phases["healed"]),),
                recovery_ns=int(max(profile["recovery_budget_s"].values()) * 1e9),
                from_ns=int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1e9),
                assumed=frozenset({"complete", "no-cancels", "accepted-early"}),
            ),
            examples=1000,
        )
        (run_dir / "audit.json").write_text(json.dumps(audit(request).to_json()))
        return base.pending(settings, engine)

    return replace(base, name=f"audited_{base.name}", pending=pending)


read_model = audited("push_readmodel")
queue = audited("oban_style_queue")
