"""Mutant: deletes and commits before it delivers, and still claims to deliver at least once."""

# It changes the inside of another module.
# mypy: ignore-errors

from contextlib import closing
from dataclasses import replace

from push_readmodel.connection import connect
from push_readmodel.design import design as correct
from push_readmodel.variants.delete_first import DrainDeletingFirst

design = replace(correct, name="delete_before_delivery")


def drain_once(engine, gateway, _effects):
    with closing(DrainDeletingFirst(connect(engine), gateway)) as draining:
        draining.drain_all()
