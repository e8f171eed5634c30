"""Which column of a source is which field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from duetime.errors import BadUsage


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row. names: the columns that are taken for it unless an option names another."""

    name: str
    names: Sequence[str]
    required: bool = False


PROMISED: Final = (
    Field("key", ("key",), required=True),
    Field("revision", ("revision",)),
    Field("due", ("due", "due_at"), required=True),
    Field("accepted_at", ("accepted_at",)),
    Field("cancelled_at", ("cancelled_at",)),
)
DELIVERED: Final = (
    Field("key", ("key",), required=True),
    Field("revision", ("revision",)),
    Field("at", ("at", "delivered_at"), required=True),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The fields of one source. what: promised or delivered. named: a column by field; empty for none."""

    what: str
    fields: Sequence[Field]
    named: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, what: str, fields: Sequence[Field], option: str) -> Wanted:
        """Parse ``field=column,…``, the value of ``--promised-columns`` or ``--delivered-columns``.

        Raises:
            BadUsage: it is malformed, or names an unknown field.
        """
        named: dict[str, str] = {}
        known = [one.name for one in fields]
        for part in filter(None, (part.strip() for part in option.split(","))):
            name, equals, column = (piece.strip() for piece in part.partition("="))
            if not equals or name not in known or name in named:
                raise BadUsage(
                    f"--{what}-columns {part!r}: write field=column, each field once; fields: {', '.join(known)}"
                )
            named[name] = column
        return cls(what, fields, named)

    def resolve(self, columns: Collection[str], where: str) -> Mapping[str, str]:
        """Return the column of each field that has one.

        Raises:
            BadUsage: `where` lacks a column that is required, or named by an option.
        """
        found: dict[str, str] = {}
        for one in self.fields:
            named = self.named.get(one.name)
            column = named if named is not None else next((name for name in one.names if name in columns), "")
            if column and column not in columns:
                raise BadUsage(f"{where} has no column {column!r}; it has {_listed(columns)}")
            if column:
                found[one.name] = column
            elif one.required:
                raise BadUsage(
                    f"{where} has no column {one.names[0]!r}; it has {_listed(columns)}. Name the column that holds "
                    f"it: --{self.what}-columns {one.name}=COLUMN"
                )
        return found

    def others(self, found: Collection[str]) -> Mapping[str, str]:
        """Return the field of each column that would be one of the fields that are not in `found`."""
        fields = (one for one in self.fields if one.name not in found and one.name not in self.named)
        return {name: one.name for one in fields for name in one.names}


def _listed(columns: Collection[str]) -> str:
    return ", ".join(columns) or "none"
