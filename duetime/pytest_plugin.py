"""``pytest --duetime-design=my_design.py:design``: the tests of `duetime conform` among the tests of a project.

pytest loads this plugin wherever duetime is installed. So it has no fixtures, and without that option it imports
nothing of duetime and does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from duetime.conformance import Conformance, Rule
    from duetime.harness.plan.scenario import Scenario
    from duetime.harness.runs.conformance_bench import ConformanceBench
    from duetime.interface import Design

DESIGN, SCENARIOS, SLOW, OUT = "--duetime-design", "--duetime-scenarios", "--duetime-slow", "--duetime-out"
SEED = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("duetime", "duetime: conformance of a scheduler of notifications")
    group.addoption(
        DESIGN,
        action="append",
        default=[],
        metavar="FILE:NAME",
        help="test this design: path/to/file.py:attribute, or a registered name; may be repeated",
    )
    group.addoption(
        SCENARIOS, metavar="A,B", help="the scenarios to run it in; none: the promises of its scheduler only"
    )
    group.addoption(
        SLOW,
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="make every scenario FACTOR times as long",
    )
    group.addoption(OUT, default="runs", metavar="DIR", help="create the run directories below DIR")


@pytest.hookimpl(tryfirst=True)  # so that -k and -m select among these tests too
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests of each design that the command line names.

    Raises:
        UsageError: a design or a scenario has no such name, or a package is missing.
    """
    if not (names := config.getoption(DESIGN)):
        return
    from duetime.errors import DuetimeError
    from duetime.extras import needed_by

    try:
        with needed_by(DESIGN, least="servers"):
            suites = [_suite(session, config, name) for name in dict.fromkeys(names)]
    except DuetimeError as error:
        raise pytest.UsageError(str(error)) from error
    for suite in suites:
        if [each.design.name for each in suites].count(suite.design.name) > 1:
            raise pytest.UsageError(f"{DESIGN}: two designs are called {suite.design.name!r}; rename one")
        items.extend(suite.collect())


def _suite(session: pytest.Session, config: pytest.Config, name: str) -> ConformanceSuite:
    from duetime import registry
    from duetime.harness.plan import catalogue, lookup

    given = config.getoption(SCENARIOS)
    chosen = (
        catalogue.CONFORMANCE if given is None else [lookup.named(each) for each in given.split(",") if each != "none"]
    )
    chosen = [lookup.slowed(scenario, config.getoption(SLOW)) for scenario in chosen]
    suite = ConformanceSuite.from_parent(session, name=name, nodeid=name)
    suite.design_name, suite.design, suite.scenarios = registry.absolute(name), registry.load(name), chosen
    suite.out = config.invocation_params.dir / config.getoption(OUT)
    return suite


class ConformanceSuite(pytest.Collector):
    """The tests of one design, and the servers that they share."""

    design_name: str
    design: Design
    scenarios: Sequence[Scenario]
    out: Path
    bench: ConformanceBench
    conformance: Conformance

    def collect(self) -> Iterator[pytest.Item]:
        from duetime.conformance import PROMISES

        for promise in PROMISES:
            yield PromiseTest.from_parent(self, name=promise.name, promise=promise)
        for scenario in self.scenarios:
            yield ScenarioTest.from_parent(self, name=scenario.name, scenario=scenario)

    def setup(self) -> None:
        """Start the servers before the first test of the suite; the suite's teardown ends them."""
        from duetime.errors import DuetimeError
        from duetime.harness.processes.environment import other_servers_hidden
        from duetime.harness.runs.conformance_bench import conformance_bench
        from duetime.harness.runs.output_directory import new_directory

        stack = ExitStack()
        self.addfinalizer(stack.close)
        try:
            self.out = new_directory(self.out) if self.scenarios else self.out
            stack.enter_context(other_servers_hidden())
            self.bench = stack.enter_context(conformance_bench(self.design_name, self.design))
            self.conformance = stack.enter_context(self.bench.conformance())
        except DuetimeError as error:
            pytest.fail(str(error), pytrace=False)


class ConformanceTest(pytest.Item):
    """A test whose failure shows the evidence, and no traceback of ours."""

    suite: ConformanceSuite

    def __init__(self, *, parent: ConformanceSuite, **arguments: Any) -> None:
        super().__init__(parent=parent, **arguments)
        self.suite = parent
        self.extra_keyword_matches.add("duetime")

    def end_as(self, state: str, evidence: str, read: str) -> None:
        """End the test: it passes if `state` is kept or allowed."""
        match state:
            case "kept":
                return
            case "allowed":
                self.add_report_section("call", "duetime", f"fails, as its guarantees allow: {evidence}")
            case "BROKEN" | "failed" | "unknown":
                pytest.fail(f"{state}: {evidence}\nread {read}", pytrace=False)
            case _:
                pytest.skip(f"{state}: {evidence}")

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.suite.name}: {self.name}"


class PromiseTest(ConformanceTest):
    """One promise of the scheduler, without any worker."""

    def __init__(self, *, promise: Rule, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.promise = promise

    def runtest(self) -> None:
        tested = self.suite.conformance.test(self.promise)
        self.end_as(tested.state, tested.evidence, tested.read)


class ScenarioTest(ConformanceTest):
    """One run of the design with its workers."""

    def __init__(self, *, scenario: Scenario, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.scenario = scenario

    def runtest(self) -> None:
        from duetime.pages import DOCS
        from duetime.shell_command import shell_command

        [cell] = self.suite.bench.run([self.scenario], SEED, self.suite.out)
        read = f"{DOCS}/findings.md, and {shell_command('check', cell.run_dir)}"
        self.end_as(cell.promise_state, cell.explanation, read)
