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
    StoredEntry,
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
    "StoredEntry",
    "assemble",
    "load",
]
