"""What production promised against what it delivered, judged by the checker's rules."""

from duetime.audit.columns import DELIVERED, PROMISED, Wanted
from duetime.audit.report import Report
from duetime.audit.request import Request, audit
from duetime.audit.rows import key_hash
from duetime.audit.terms import ASSUMPTIONS, Terms
from duetime.audit.times import Instants, parse_duration

__all__ = [
    "ASSUMPTIONS",
    "DELIVERED",
    "PROMISED",
    "Instants",
    "Report",
    "Request",
    "Terms",
    "Wanted",
    "audit",
    "key_hash",
    "parse_duration",
]
