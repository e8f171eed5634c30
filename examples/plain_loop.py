"""A design in one file: the read model, drained by a plain loop. Run it with

duetime run examples/plain_loop.py:design downtime
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy import create_engine

from duetime.interface import Role
from duetime.runtime.gateway import gateway_from
from duetime.settings import Settings
from push_readmodel.design import design as read_model
from push_readmodel.drain import drain

command = (sys.executable, str(Path(__file__).resolve()))
role = Role(name="worker", argv=command, ready="ready")
design = replace(read_model, name="plain_loop", roles=[role], uses_broker=False)

if __name__ == "__main__":
    settings = Settings.from_environment()
    engine, gateway = create_engine(settings.database_url), gateway_from(settings)
    print("ready", flush=True)  # noqa: T201 - the harness waits for this line in the log
    while True:
        drain(engine, gateway)
        time.sleep(0.5)
