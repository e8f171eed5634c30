"""Mutant of staged: rescues a job while another worker is executing it, because only the time tells them apart."""

# It changes the inside of another module.
# mypy: ignore-errors

from dataclasses import replace
from datetime import timedelta

from oban_style_queue.variants.staged import design as correct
from oban_style_queue.variants.staged import execute, rescue, stage

design = replace(correct, name="rescue_by_time")


def drain_once(engine, gateway, effects):
    rescue(engine, after=timedelta())
    published = []
    stage(engine, published.append)
    for job in published:
        execute(engine, gateway, job, effects=effects)
