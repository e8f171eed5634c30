"""The format of plan.json, and the conversion of older formats.

Format 1, written before 0.1.0, had other names. `upgraded` converts its plan; in the other files of a run only kinds
of fault and one field of closed.json differ, which `current_kind` and `Closed.from_json` convert.
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
    """Convert `plan` to the current format.

    Raises:
        KeyError, TypeError, AttributeError: `plan` is not a plan.
    """
    if plan.get("format", FORMAT) == FORMAT:
        return plan
    new = _renamed(plan, RENAMED)
    new["profile"] = _renamed(new["profile"], RENAMED_IN_PROFILE)
    profile = new["profile"]
    if "recovery_budget_s" in profile:
        profile["recovery_budget_s"] = _renamed(profile["recovery_budget_s"], RENAMED_KINDS)
    if "non_excusing_faults" in profile:
        profile["non_excusing_faults"] = [current_kind(kind) for kind in profile["non_excusing_faults"]]
    if "environment" in new:
        new["environment"] = _renamed(new["environment"], RENAMED_IN_ENVIRONMENT)
    if "required_faults" in new:
        new["required_faults"] = [current_kind(kind) for kind in new["required_faults"]]
    if new.get("guarantees", {}).get("due_by") == "servers":
        new["guarantees"] = {**new["guarantees"], "due_by": "workers"}
    new["faults"] = [
        {**fault, "kind": current_kind(fault["kind"]), "target": current_target(fault["target"])}
        for fault in new.get("faults", ())
    ]
    return new


def current_kind(kind: str) -> str:
    return RENAMED_KINDS.get(kind, kind)


def current_target(target: str) -> str:
    """The current name of a fault's target: workers were called servers."""
    return SERVER.sub("worker-", target)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
