"""Read the records of a run directory."""

from duetime.history.assemble import History, assemble
from duetime.history.load import load
from duetime.history.records import (
    NEVER,
    Canary,
    Closed,
    Delivery,
    Operation,
    RecordedFault,
    RecordedPlan,
    RecordedProfile,
)

__all__ = [
    "NEVER",
    "Canary",
    "Closed",
    "Delivery",
    "History",
    "Operation",
    "RecordedFault",
    "RecordedPlan",
    "RecordedProfile",
    "assemble",
    "load",
]
