"""Mutant: the claim waits for the lock in a subquery and joins the rows to it, so it returns them as they were before.

With SKIP LOCKED the same happens inside one statement, between its snapshot and the lock; there a step is too coarse.
"""

# It changes the inside of another module.
# mypy: ignore-errors

import re
from dataclasses import replace

from push_readmodel import drain as module
from push_readmodel.design import design as correct
from push_readmodel.drain import drain

COLUMNS, CONDITION = re.fullmatch(
    r"\s*SELECT (.*)\s+FROM pending_notifications\s+(.*?)\s*", module.CLAIM, re.DOTALL
).groups()
module.CLAIM = f"""
    WITH claimed AS (SELECT key FROM pending_notifications {CONDITION.replace("SKIP LOCKED", "")})
    SELECT {COLUMNS} FROM pending_notifications JOIN claimed USING (key) ORDER BY attempt_at
"""

design = replace(correct, name="claim_joined_back")


def drain_once(engine, gateway, _effects):
    drain(engine, gateway)
