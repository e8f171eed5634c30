"""Values that the command line gives: ``--set NAME=VALUE``, and the options of a worker's command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from duetime.errors import BadUsage, UnknownName
from duetime.lint.libraries.declaration import Library, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a worker's command.

    given: the values that are in the command. left_out: the defaults of all options that it could have.
    """

    given: Mapping[str, Any]
    left_out: Mapping[str, Any]


WORDS = {"none": None, "null": None, "true": True, "false": False}


def given(library: Library, assignments: Iterable[str]) -> dict[str, Any]:
    """Return the values of ``NAME=VALUE``.

    Raises:
        UnknownName: no rule is about such a setting.
        BadUsage: the value is of another kind.
    """
    values = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadUsage(f"--set {text!r}: write NAME=VALUE")
        if name not in library.by_name:
            raise UnknownName(f"judged setting of {library.title}", name, library.by_name)
        values[name] = _value(f"--set {text!r}", library.by_name[name], value)
    return values


def of_command(library: Library, line: str) -> Options:
    """Return the options in `line`, the command of a worker. Those that no rule is about are skipped.

    Raises:
        BadUsage: the command does not start the library, or the value of an option is of another kind.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise BadUsage(f"--worker {line!r}: {error}; quote it for a shell") from error
    if not library.commands:
        raise BadUsage(f"--worker: no setting of {library.title} is in a command; write --set NAME=VALUE")
    start = next((at for at in range(len(words)) if _starts(library, words, at)), None)
    if start is None:
        raise BadUsage(f"--worker {line!r} does not start {library.title}; write for instance {library.example!r}")
    # What stands before it are options of another program, for instance `timeout -s TERM`.
    own = list(_apart(words[start + 1 :], library.flags))
    given_here = {
        setting.name: _value(f"--worker {line!r}", setting, value)
        for setting in library.settings
        if (value := _option(own, setting)) is not None
    }
    left_out = {
        setting.name: setting.default
        for setting in library.settings
        if setting.options and (not setting.subcommands or any(each in own for each in setting.subcommands))
    }
    return Options(given=given_here, left_out=left_out)


def _starts(library: Library, words: Sequence[str], at: int) -> bool:
    """Return True if the word at `at` is a program of `library`, or a module of it after ``-m``."""
    if at and words[at - 1] == "-m":
        return any(part in library.commands for part in words[at].split("."))
    return PurePath(words[at]).name.removesuffix(".py") in library.commands


def _apart(words: Iterable[str], flags: str) -> Iterator[str]:
    """Yield `words` with ``-vs`` as ``-v`` and ``-s``."""
    for word in words:
        rest = word
        while len(rest) > 2 and rest[0] == "-" and rest[1] in flags:
            yield rest[:2]
            rest = f"-{rest[2:]}"
        yield rest


def _option(words: Sequence[str], setting: Setting) -> str | None:
    """Return the value of the option of `setting`, the last one if it is repeated; None if it is not given."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word in setting.options:
            found = "true" if setting.kind == "flag" else following
        elif equals and name in setting.options:
            found = value
        elif setting.kind != "flag" and (short := next((o for o in setting.options if _is_attached(word, o)), "")):
            found = word.removeprefix(short)
    return found


def _is_attached(word: str, option: str) -> bool:
    """Return True for ``-gTERM``."""
    return len(option) == 2 and word.startswith(option) and not word.startswith("--") and len(word) > 2


def _value(where: str, setting: Setting, text: str) -> Any:
    value: Any = WORDS.get(text.lower(), text)
    if setting.kind == "number" and isinstance(value, str):
        value = _number(value)
    if not setting.accepts(value):
        raise BadUsage(f"{where}: {setting.name} is {_kinds(setting)}, not {text!r}")
    return value


def _number(text: str) -> float | str:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _kinds(setting: Setting) -> str:
    unit: Mapping[str, str] = {"s": " of seconds", "ms": " of milliseconds", "": ""}
    kind = {"number": f"a number{unit[setting.unit]}", "flag": "true or false", "text": "a name"}[setting.kind]
    return f"{kind} or none" if setting.optional else kind
