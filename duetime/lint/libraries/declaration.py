"""The form of a library's file: its settings, and the rules about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from sys import float_info
from typing import Any, Literal

from duetime.lint.finding import Scenario

Effect = Literal["loses", "repeats", "delays", "ignores a cancel"]
Kind = Literal["number", "flag", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a library.

    default: of the pinned version.
    options: its spellings in the command of a worker. A flag's turns it on.
    subcommands: those that have the options; empty if each command has them.
    one_suffices: True for a flag that the rules judge over all commands together: one worker that has it is enough.
    optional: True if None has a meaning.
    unit: of a number; empty if it counts something.
    of: the object that has it, if it is not the application or the worker, for instance "a task".
    """

    name: str
    default: float | bool | str | None
    kind: Kind = "number"
    options: Sequence[str] = ()
    subcommands: Sequence[str] = ()
    one_suffices: bool = False
    optional: bool = False
    unit: Literal["s", "ms", ""] = ""
    of: str = ""

    def accepts(self, value: object) -> bool:
        """Return True if `value` is of the setting's kind."""
        if value is None:
            return self.optional
        if self.kind == "number":
            # Not isfinite(): it raises an error on an int that no float can hold.
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max
        return isinstance(value, bool if self.kind == "flag" else str) and value != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a contender that shows the consequence."""

    design: str
    scenario: Scenario
    slow: int = 1

    @property
    def command(self) -> Sequence[str]:
        slow = ["--slow", str(self.slow)] if self.slow > 1 else []
        return ["duetime", "run", self.design, self.scenario, "--seed", "1", *slow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test of a contender that shows the consequence, where a run does only by chance."""

    file: str
    keyword: str
    scenario: None = None

    @property
    def command(self) -> Sequence[str]:
        return ["pytest", "-m", "contenders", f"tests/designs/{self.file}", "-k", self.keyword]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the user tolerates, in seconds.

    lateness: after a worker crash. punctual_to: while nothing fails. horizon: the longest time between scheduling and
    due time. grace: the time from SIGTERM to SIGKILL; None if unknown.
    """

    lateness: float
    punctual_to: float
    horizon: float
    grace: float | None = None


class NotKnown(Exception):
    """A rule asks for a setting whose value is not known, so it is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The input of a rule: known values by the names of their settings, and the limits."""

    settings: Mapping[str, Setting]
    values: Mapping[str, Any]
    limits: Limits

    def __getitem__(self, name: str) -> Any:
        """Return the value of the setting `name`.

        Raises:
            NotKnown: it is not known, or not of the setting's kind.
        """
        if name not in self.values or not self.settings[name].accepts(self.values[name]):
            raise NotKnown(name)
        return self.values[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A setting, when it is wrong, and what it does then.

    consequence: a template of `str.format()` over the values.
    see: the source: a file and line of the library, or a page of its documentation.
    """

    setting: str
    when: Callable[[Case], bool]
    effect: Effect
    consequence: str
    fix: str
    run: Run | Test
    see: str
    level: Literal["warning", "info"] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Values that were read: of the application or its worker, and of each task that has settings of its own.

    version: of the library, if the project has it.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; a value that it cannot hold is not known."""
        return {
            "values": _plain(self.values),
            "tasks": {name: _plain(own) for name, own in self.tasks.items()},
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library.

    version: the one that the rules were read in.
    reads: what TARGET may name, in words; empty if there is nothing to read.
    read: returns what an imported object (or its module, if TARGET names no object) has; None if it is another object.
    suffix, parse: of the configuration file that a worker reads, and what its text says.
    commands: the programs that start a worker, if one has options that are settings; example: such a command.
    flags: the letters of the short options without a value, which may stand together, as in ``-vs``.
    fixed: what no setting changes.
    """

    name: str
    title: str
    version: str
    settings: Sequence[Setting]
    rules: Sequence[Rule]
    fixed: str
    reads: str = ""
    read: Callable[[Any], Found | None] | None = None
    suffix: str = ""
    parse: Callable[[str], Found] | None = None
    commands: Sequence[str] = ()
    example: str = ""
    flags: str = ""

    @property
    def by_name(self) -> Mapping[str, Setting]:
        return {setting.name: setting for setting in self.settings}

    def defaults(self) -> dict[str, Any]:
        return {setting.name: setting.default for setting in self.settings}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, int | float | str | None)}


def is_a(thing: Any, name: str) -> bool:
    """Return True if a class named `name`, or a subclass of it, made `thing`. Its library is not imported for that."""
    return any(kind.__name__ == name for kind in type(thing).__mro__)


def seconds(value: Any) -> Any:
    """Return a timedelta in seconds, and anything else as it is."""
    return value.total_seconds() if isinstance(value, timedelta) else value
