"""A migration, as a participant: the switch, and one pass that moves what is pending."""

from __future__ import annotations

from pkgutil import resolve_name

from sqlalchemy import Engine, text

from duetime.errors import BadUsage
from duetime.interface import Design
from duetime.migration import MigrationDesign, NewDesignTarget, switch
from duetime.settings import Settings

ALSO_DUE = text("interval '-100 years'")


def migrate_once(design: Design, settings: Settings, engine: Engine) -> None:
    """Switch, and move what no worker holds.

    Rows that are due are moved, too, which `duetime migrate` leaves to the old workers: all rows of a scope are due,
    and so a move and a delivery of the same row come in every order.

    Raises:
        BadUsage: `design` is no migration from the read model.
    """
    read_model = resolve_name("push_readmodel.migrate")
    if not isinstance(design, MigrationDesign) or design.old.migrate is not read_model.migrate:
        raise BadUsage(f"{design.name} is no migration from push_readmodel, and no other can be explored")
    read_model.SOON = ALSO_DUE
    switch(engine, design.name)
    target = NewDesignTarget(design.name, design.new.scheduler(settings), transactional=True)
    design.old.migrate(settings, engine, target, None)
