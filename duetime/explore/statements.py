"""What a statement does to what other sessions see: decided by its text, and on the safe side."""

from __future__ import annotations

import re
from collections.abc import Collection

EVERYTHING = "*"
"""Instead of the names of tables: a statement that is not recognised may touch any."""
LOCAL = re.compile(
    r"(begin|start transaction|set(?! constraints)|show|savepoint|release|deallocate|discard|reset|listen|unlisten)\b"
    r"|select (pg_catalog\.)?(version\(\)|set_config\(|current_schema|pg_backend_pid|current_setting|1$)"
    r"|(?!.*\b(insert|update|delete|merge)\b).*\b(pg_catalog\.|pg_class|pg_type|pg_namespace|pg_settings|to_regclass)"
    r"|--|$",
    re.IGNORECASE | re.DOTALL,
)
"""Statements that neither see nor change what other sessions do. LISTEN counts from its commit on."""
BEGINS = re.compile(r"(begin|start transaction)\b", re.IGNORECASE)
ENDS = re.compile(r"(commit|end|rollback|abort)\b(?!\s+(work\s+|transaction\s+)?to\b)", re.IGNORECASE)
FIRES = re.compile(r"set constraints\b", re.IGNORECASE)
"""Deferred triggers are executed now, on what the transaction has touched."""
UNDOES = re.compile(r"rollback\b.*\bto\b", re.IGNORECASE)
CHANNELS = re.compile(r"pg_notify|^\s*notify\b", re.IGNORECASE)
ADVISORY = re.compile(r"advisory", re.IGNORECASE)
CHANGED = re.compile(r"\b(insert into|update|delete from) (\w+)", re.IGNORECASE)
SHOWN = 46
"""Characters of a statement in a label."""


def bare(sql: str) -> str:
    """Return a statement in one line, without comments."""
    return " ".join(re.sub(r"--[^\n]*|/\*.*?\*/", " ", sql, flags=re.DOTALL).split()).rstrip("; ")


def touched(sql: str, tables: Collection[str]) -> frozenset[str]:
    """Return what other sessions may notice of `sql`, or it of them: the names of tables, or `EVERYTHING`.

    tables: all tables of the database. What is quoted as a string names none.
    """
    text = re.sub(r"'(?:[^']|'')*'", "''", bare(sql))
    if LOCAL.match(text):
        return frozenset()
    found = {table for table in tables if re.search(rf"\b{re.escape(table)}\b", text)}
    if CHANNELS.search(text):
        found.add("NOTIFY")
    if ADVISORY.search(text):
        found.add("advisory lock")
    return frozenset(found or {EVERYTHING})


def label_of(sql: str) -> str:
    """Return a statement in a few words, for a table of steps."""
    text = bare(sql)
    skip_locked = " … SKIP LOCKED" if re.search("skip locked", text, re.IGNORECASE) else ""
    for_update = " … FOR UPDATE" if not skip_locked and re.search(r"\bfor update\b", text, re.IGNORECASE) else ""
    changes = None if re.match("select", text, re.IGNORECASE) else CHANGED.search(text)
    if changes:
        return f"{changes[1].upper()} {changes[2]}{skip_locked}"
    # Not "extract(epoch FROM clock_timestamp())".
    if found := re.match(r"select\b.*?\bfrom (\w+)(?![\w(])", text, re.IGNORECASE):
        return f"SELECT {found[1]}{skip_locked or for_update}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
