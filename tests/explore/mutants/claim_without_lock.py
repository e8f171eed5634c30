"""Mutant: the claim locks nothing, so two workers claim the same row."""

# It changes the inside of another module.
# mypy: ignore-errors

from dataclasses import replace

from push_readmodel import drain as module
from push_readmodel.design import design as correct
from push_readmodel.drain import drain

module.CLAIM = module.CLAIM.replace("FOR UPDATE SKIP LOCKED", "")
module.check_changed = lambda *_: None  # it would notice that the row was deleted by another worker

design = replace(correct, name="claim_without_lock")


def drain_once(engine, gateway, _effects):
    drain(engine, gateway)
