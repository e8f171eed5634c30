"""Judge values by the rules of their library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from duetime.lint.finding import Finding
from duetime.lint.libraries.declaration import Case, Found, Library, Limits, NotKnown, Rule
from duetime.lint.text import listed


def judge(
    library: Library,
    found: Found,
    given: Mapping[str, Any],
    limits: Limits,
    *,
    target: str,
    commands: Sequence[Mapping[str, Any]] = (),
) -> list[Finding]:
    """Return the findings about `target`. Equal ones of several commands are one.

    found: what was read. given: values of --set, which replace those that were read.
    commands: for each command of a worker, the values that it has instead of those of `found`.
    """
    findings: dict[Finding, None] = {}
    unknown: dict[str, None] = {}
    for rule in library.rules:
        lacking = []
        for values in commands or [found.values]:
            lacks: dict[str, None] = {}
            for case, names in _cases(library, rule, replace(found, values=values), given, limits):
                if _is_wrong(rule, case, lacks):
                    findings[_finding(library, rule, case, names, target)] = None
            lacking.append(lacks)
        # A command without the option, such as `taskiq worker`, is no reason if another command was judged.
        unknown |= {name: None for name in lacking[0] if all(name in lacks for lacks in lacking)}
    return [*findings, _not_judged(library, found, list(unknown), target)]


def _cases(
    library: Library, rule: Rule, found: Found, given: Mapping[str, Any], limits: Limits
) -> Iterator[tuple[Case, list[str]]]:
    """Yield the values that `rule` judges; those of tasks with the same value together, with the tasks' names."""
    groups: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for name, own in found.tasks.items():
        if rule.setting in own and rule.setting not in given:
            groups.setdefault(repr(own), (own, []))[1].append(name)
    for own, names in groups.values() or [({}, [])]:
        yield Case(settings=library.by_name, values={**found.values, **own, **given}, limits=limits), names


def _is_wrong(rule: Rule, case: Case, unknown: dict[str, None]) -> bool:
    try:
        return rule.when(case)
    except NotKnown as error:
        unknown[str(error)] = None
        return False


def _finding(library: Library, rule: Rule, case: Case, names: list[str], target: str) -> Finding:
    value = case[rule.setting]
    return Finding(
        target=target,
        level=rule.level,
        setting=rule.setting,
        value=repr(value),
        is_default=value == library.by_name[rule.setting].default,
        consequence=(f"{listed(names)}: " if names else "") + rule.consequence.format_map(case.values),
        fix=rule.fix,
        scenario=rule.run.scenario,
        see=(rule.see,),
        library=library.title,
        run=tuple(rule.run.command),
    )


def _not_judged(library: Library, found: Found, unknown: list[str], target: str) -> Finding:
    """Return what is not judged: settings whose values are not known, and what no setting changes."""
    points = []
    if unknown:
        names = ", ".join(f"{name} (of {of})" if (of := library.by_name[name].of) else name for name in unknown)
        command = ", or the command of the worker as --worker" if _in_command(library, unknown) else ""
        points.append(f"not judged, because their values are not known here: {names}. Write --set NAME=VALUE{command}.")
    if found.version not in ("", library.version):
        points.append(f"The rules are about version {library.version}, and the project has {found.version}.")
    points.append(f"No setting of {library.title} {library.version} changes this: {library.fixed}.")
    return Finding(
        target=target,
        level="not judged",
        setting=", ".join(unknown) or "none",
        value="unknown",
        is_default=False,
        consequence=" ".join(points),
        fix="check these by hand.",
        scenario=None,
        library=library.title,
    )


def _in_command(library: Library, names: list[str]) -> bool:
    return any(library.by_name[name].options for name in names)
