"""The run directory: what is written while a run goes on, and read back when it is judged."""

from duetime.history.assemble import History, assemble
from duetime.history.load import load
from duetime.history.records import NEVER, Canary, Closed, Delivery, Fault, Operation, Plan, Profile

__all__ = [
    "NEVER",
    "Canary",
    "Closed",
    "Delivery",
    "Fault",
    "History",
    "Operation",
    "Plan",
    "Profile",
    "assemble",
    "load",
]
