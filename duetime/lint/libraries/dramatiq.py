"""Dramatiq, with its Redis broker."""

from __future__ import annotations

import sys
from inspect import ismodule
from math import inf
from typing import Any

from duetime.lint.libraries.declaration import Case, Found, Library, Rule, Run, Setting, is_a


def read(target: Any) -> Found | None:
    """Return the settings of a broker; of a module, those of the broker that it has set."""
    broker: Any = getattr(sys.modules.get("dramatiq.broker"), "global_broker", None) if ismodule(target) else target
    if not hasattr(broker, "maintenance_chance") and not hasattr(broker, "actors"):
        return None
    abortable = next((each for each in broker.middleware if is_a(each, "Abortable")), None)
    found = {name: getattr(broker, name, None) for name in ("heartbeat_timeout", "maintenance_chance")}
    return Found(
        values={**found, "abortable": abortable is not None, "abort_ttl": getattr(abortable, "abort_ttl", None)}
    )


def _taken_over_after(case: Case) -> float:
    """Return after how many seconds, on average, an idle worker takes over the messages of a dead one."""
    chance = case["maintenance_chance"]
    return float(case["heartbeat_timeout"]) / 1000 + (1_000_000 / chance if chance > 0 else inf)


LIBRARY = Library(
    name="dramatiq",
    title="Dramatiq",
    version="2.2.1",
    reads="a broker, for instance dramatiq:shop.tasks:broker",
    read=read,
    fixed="a message that a dead worker had executed, and not acknowledged, is executed again; the delayed messages "
    "of a worker that lost Redis wait until it is restarted; a delay on Redis must be less than 7 days",
    settings=(
        Setting(name="maintenance_chance", default=1000, of="a RedisBroker"),
        Setting(name="heartbeat_timeout", default=60_000, unit="ms", of="a RedisBroker"),
        Setting(name="abortable", default=False, kind="flag"),
        Setting(name="abort_ttl", default=90_000, unit="ms", of="Abortable"),
    ),
    rules=(
        Rule(
            setting="maintenance_chance",
            when=lambda case: _taken_over_after(case) > case.limits.lateness,
            effect="delays",
            consequence="on Redis the messages of a killed worker, delayed ones too, come back when it has sent "
            "nothing for {heartbeat_timeout:g} ms and a fetch then looks for dead workers. {maintenance_chance:g} "
            "fetches of a million do, at random, and an idle worker fetches about once a second.",
            fix="RedisBroker(maintenance_chance=1_000_000): every fetch looks; and a heartbeat_timeout below the "
            "tolerable lateness.",
            run=Run(design="contender:dramatiq", scenario="crash_before", slow=165),
            see="dramatiq/brokers/redis.py:241",
        ),
        Rule(
            setting="abortable",
            when=lambda case: not case["abortable"],
            effect="ignores a cancel",
            consequence="Dramatiq has no cancel of its own. If the application cancels or replaces a delayed message, "
            "the message is executed nevertheless.",
            fix="the middleware Abortable of dramatiq-abort; or let the actor ask a database whether its message is "
            "still wanted.",
            run=Run(design="contender:dramatiq", scenario="move_and_cancel"),
            see="https://dramatiq.io/cookbook.html#aborting-messages",
            level="info",
        ),
        Rule(
            setting="abort_ttl",
            when=lambda case: case["abortable"] and case["abort_ttl"] / 1000 < case.limits.horizon,
            effect="ignores a cancel",
            consequence="the mark that aborts a message expires after {abort_ttl:g} ms. A message that is due later is "
            "executed nevertheless.",
            fix="Abortable(abort_ttl=…), longer than the longest delay and the retries together.",
            run=Run(design="contender:dramatiq", scenario="move_and_cancel"),
            see="dramatiq_abort/middleware.py:56",
        ),
    ),
)
