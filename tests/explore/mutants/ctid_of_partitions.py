"""Mutant: deletes by ctid, which is unique within one partition only."""

# It changes the inside of another module.
# mypy: ignore-errors

from dataclasses import replace

from push_readmodel import drain as module
from push_readmodel.design import design as correct
from push_readmodel.drain import drain

module.DELETE = """
    DELETE FROM pending_notifications
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM pending_notifications WHERE key = ANY(%s)))
"""
module.check_changed = lambda *_: None  # it would notice that more rows were deleted

design = replace(correct, name="ctid_of_partitions", install=lambda engine: correct.install_partitioned(engine, 8))


def drain_once(engine, gateway, _effects):
    drain(engine, gateway)
