"""The format of plan.json, and how an older one is read.

Format 1, written until 0.1.0, called some things otherwise. `upgraded` gives its plan the present names; the other
files of a run differ from the present ones in a few words only, which `present_kind` and `Closed.from_json` know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FORMAT = 2
OLDEST = 1

RENAMED = {
    "exists_for": "required_faults",
    "promise": "guarantees",
    "surroundings": "environment",
    "servers": "workers",
}
RENAMED_IN_PROFILE = {"beyond_s": "owed_until_s", "excuses_nothing": "non_excusing_faults"}
RENAMED_IN_ENVIRONMENT = {"broker_keeps": "broker_persistence"}
RENAMED_KINDS = {"server_added": "worker_added", "server_removed": "worker_removed"}


SERVER = re.compile(r"\bserver-(?=\d)")


def upgraded(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """`plan`, of any format that can be read, with the names of the present one.

    Raises:
        KeyError, TypeError, AttributeError: it is not a plan.
    """
    if plan.get("format", FORMAT) == FORMAT:
        return plan
    new = _renamed(plan, RENAMED)
    new["profile"] = _renamed(new["profile"], RENAMED_IN_PROFILE)
    profile = new["profile"]
    if "recovery_budget_s" in profile:
        profile["recovery_budget_s"] = _renamed(profile["recovery_budget_s"], RENAMED_KINDS)
    if "non_excusing_faults" in profile:
        profile["non_excusing_faults"] = [present_kind(kind) for kind in profile["non_excusing_faults"]]
    if "environment" in new:
        new["environment"] = _renamed(new["environment"], RENAMED_IN_ENVIRONMENT)
    if "required_faults" in new:
        new["required_faults"] = [present_kind(kind) for kind in new["required_faults"]]
    if new.get("guarantees", {}).get("due_by") == "servers":
        new["guarantees"] = {**new["guarantees"], "due_by": "workers"}
    new["faults"] = [
        {**fault, "kind": present_kind(fault["kind"]), "target": present_target(fault["target"])}
        for fault in new.get("faults", ())
    ]
    return new


def present_kind(kind: str) -> str:
    """The present name of a kind of fault."""
    return RENAMED_KINDS.get(kind, kind)


def present_target(target: str) -> str:
    """The present name of what a fault is done to: workers were called servers."""
    return SERVER.sub("worker-", target)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
