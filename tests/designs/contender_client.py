"""Carries out calls of a contender's scheduler, each in a transaction; runs in the contender's own environment.

``contender_client.py DESIGN`` reads the calls as a JSON list: ``["schedule", notification]``, ``["cancel", key,
revision]``, or ``["roll back", notification]``.
"""

from __future__ import annotations

import json
import sys

from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from duetime.interface import Notification
from duetime.registry import load
from duetime.settings import Settings


def main() -> None:
    settings = Settings.from_environment()
    engine = create_engine(settings.database_url, poolclass=NullPool)
    scheduler = load(sys.argv[1]).scheduler(settings)
    for name, *arguments in json.load(sys.stdin):
        with Session(engine) as session:
            if name == "cancel":
                scheduler.cancel(arguments[0], revision=arguments[1], session=session)
            else:
                scheduler.schedule(Notification.from_json(arguments[0]), session=session)
            if name == "roll back":
                session.rollback()
            else:
                session.commit()


if __name__ == "__main__":
    main()
