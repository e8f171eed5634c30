"""One design goes through one plan; what happened is in the run directory afterwards."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from math import inf
from pathlib import Path

from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.pool import NullPool

from duetime.app.tables import Base, User
from duetime.clock import Instant
from duetime.faults.clock import SkewedClock
from duetime.gateway import TROUBLE, JournalGateway
from duetime.harness.clients import ClientProcess
from duetime.harness.conductor import Conductor
from duetime.harness.hurting import Hurtables, maker
from duetime.harness.metronome import Metronome
from duetime.harness.plan import Plan
from duetime.harness.scenario import POLL_INTERVAL_S, REMINDER_LEAD_S
from duetime.harness.servers import Server, stop_all
from duetime.harness.services import Endpoints, Wants
from duetime.harness.site import Site
from duetime.harness.supervisor import Supervisor
from duetime.harness.targets import Targets
from duetime.harness.workload import CLIENTS
from duetime.interface import Design, Pending
from duetime.settings import Settings

RECORDED = ("history.jsonl", "deliveries.jsonl", "faults.jsonl", "clock.jsonl")
STOP_WITHIN_S = 3.0
SETTLED_WITHIN_S = 30.0
LOOK_EVERY_NS = 500_000_000
QUIET_WITHIN_S = 10.0
"""A design that is still delivering then has no end of it; what it delivered is judged as it is."""

Progress = Callable[[str], None]


class Run:
    """One design, one plan, one directory.

    design_name: how a client process finds the design again: a registered name, or ``file.py:attribute``.
    slot: the number of this run among those that go on beside it.
    """

    def __init__(
        self,
        design: Design,
        plan: Plan,
        directory: Path,
        *,
        design_name: str,
        site: Site,
        slot: int,
        progress: Progress = lambda _phase: None,
    ) -> None:
        self.directory = directory
        self._design = design
        self._design_name = design_name
        self._plan = plan
        self._site = site
        self._stop = site.stop
        self._slot = slot
        self._progress = progress

    def carry_out(self, agree_on_start: Callable[[], Instant]) -> None:
        """Prepare, wait for `agree_on_start` to say when, go through the plan, close.

        Raises:
            DuetimeError: the run could not be carried out; its directory holds what there was, unclosed.
        """
        self.directory.mkdir(parents=True)
        (self.directory / "logs").mkdir()
        self._write_plan()
        for name in RECORDED:
            (self.directory / name).touch()
        name = f"{self._plan.scenario}-{self._slot}-{self._plan.seed}"
        with ExitStack() as stack:
            self._progress("starting servers")
            wants = Wants(
                broker_keeps=self._plan.surroundings.broker_keeps,
                links=self._plan.links(),
                broker_isolated=self._plan.isolated(),
            )
            endpoints = stack.enter_context(self._site.services.for_run(name, self._slot, wants))
            engine = create_engine(endpoints.database_url, poolclass=NullPool)
            self._install(engine)
            settings = self._settings(endpoints.database_through, endpoints.broker_through)
            clocks = {
                target: SkewedClock(self._site.place / name / f"{target}.clock") for target in self._plan.moved_clocks()
            }
            servers = self._servers(settings, self._site.place / name, clocks)
            stack.callback(self._kill_all, servers)
            for server in servers:
                server.start()
            clients = self._clients(settings)
            for client in clients:
                stack.callback(client.stop)
            for server in servers:
                server.wait_ready(self._stop)
            for client in clients:
                client.wait_ready(self._stop)
            gateway = JournalGateway(settings.deliveries, worker="canary", delivery_time=timedelta())
            stack.callback(gateway.close)
            supervisor = Supervisor(servers)
            stack.callback(supervisor.stop)
            self._go(agree_on_start, clients, servers, clocks, gateway, endpoints, engine, supervisor)

    def _go(
        self,
        agree_on_start: Callable[[], Instant],
        clients: Sequence[ClientProcess],
        servers: Sequence[Server],
        clocks: Mapping[str, SkewedClock],
        gateway: JournalGateway,
        endpoints: Endpoints,
        engine: Engine,
        supervisor: Supervisor,
    ) -> None:
        deliveries = self._deliveries()
        hurt = Hurtables(
            targets=Targets(servers, deliveries, delivery_time=timedelta(seconds=self._plan.profile.delivery_time_s)),
            endpoints=endpoints,
            servers={server.name: server for server in servers},
            clocks=clocks,
            clients={client.name: client for client in clients},
            trouble=deliveries.with_name(TROUBLE),
        )
        started = agree_on_start()
        self._write_plan(started)
        period_s = self._plan.profile.canary_period_s
        metronome = Metronome(gateway, self.directory / "clock.jsonl", period_s=period_s)
        metronome.start(started)
        try:
            for client in clients:
                client.begin(started)
            self._progress("running")
            supervisor.start()
            settled = partial(supervisor.wait_settled, self._stop, within_s=SETTLED_WITHIN_S)
            conductor = Conductor(maker(hurt), settled, self.directory / "faults.jsonl", self._stop)
            conductor.carry_out(self._plan.faults, started)
            conductor.close()
            for client in clients:
                client.wait_done(started, self._stop)
            self._wait_for_deadlines(started, conductor.last_healed_ns)
            self._progress("closing")
            pending = self._wait_for_pending(self._settings(endpoints.database_url, endpoints.broker_url), engine)
            quiet_s = self._wait_for_quiet(deliveries)
            supervisor.stop()
            alive = all(server.serving() for server in servers)
            stop_all(list(servers), within_s=STOP_WITHIN_S)
            self._stop.sleep(self._plan.profile.in_flight_allowance_s)
        finally:
            metronome.stop()
        self._close(
            pending, quiet_s=quiet_s, workers_alive=alive, restarts=supervisor.restarts, unseen=conductor.unseen
        )

    def _install(self, engine: Engine) -> None:
        Base.metadata.create_all(engine)
        self._design.install(engine)
        users = sorted({user for operation in self._plan.operations for user in operation.users})
        rows = [
            {"id": user, "name": f"user {user}", "address": f"{user}@example.org", "locale": "en"} for user in users
        ]
        with engine.begin() as connection:
            connection.execute(insert(User), rows)

    def _settings(self, database_url: str, broker_url: str) -> Settings:
        return Settings(
            design=self._design_name,
            database_url=database_url,
            broker_url=broker_url,
            server="client",
            deliveries=self._deliveries(),
            delivery_time=timedelta(seconds=self._plan.profile.delivery_time_s),
            reminder_lead=timedelta(seconds=REMINDER_LEAD_S),
            poll_interval=timedelta(seconds=POLL_INTERVAL_S),
            visibility_timeout=timedelta(seconds=self._plan.surroundings.visibility_timeout_s),
            rescue_after=timedelta(seconds=self._plan.surroundings.rescue_after_s),
        )

    def _deliveries(self) -> Path:
        return (self.directory / "deliveries.jsonl").absolute()

    def _servers(self, settings: Settings, own: Path, clocks: Mapping[str, SkewedClock]) -> list[Server]:
        servers = []
        for role in self._design.roles:
            for number in range(1, (role.replicas or self._plan.servers) + 1):
                name = f"{role.name}-{number}"
                log = self.directory / "logs" / f"{name}.log"
                state = own / name
                mine = settings.for_server(name)
                servers.append(
                    Server(
                        name=name,
                        role=role,
                        settings=mine,
                        state=state,
                        log=log,
                        place=self._site.place,
                        environment=clocks[name].environment() if name in clocks else {},
                    )
                )
        return servers

    def _clients(self, settings: Settings) -> list[ClientProcess]:
        return [
            ClientProcess(
                number,
                [operation for operation in self._plan.operations if operation.client == number],
                settings=settings,
                history=self.directory / "history.jsonl",
                log=self.directory / "logs" / f"client-{number}.log",
                place=self._site.place,
            )
            for number in range(CLIENTS)
        ]

    def _wait_for_deadlines(self, started: Instant, last_healed_ns: int) -> None:
        """Wait until no notification can still be in time, and then the grace."""
        profile = self._plan.profile
        beyond_s = inf if profile.beyond_s is None else profile.beyond_s
        dues = [op.due_s for op in self._plan.operations if op.due_s is not None and op.due_s <= beyond_s]
        last_due_s = max(dues, default=0.0)
        budget_s = max(profile.recovery_budget_s.values(), default=0.0)
        excused_until_ns = last_healed_ns + int(budget_s * 1e9) if last_healed_ns else 0
        last_ready_ns = max(started.mono_ns + int(last_due_s * 1e9), excused_until_ns)
        until_ns = last_ready_ns + int((profile.lateness_limit_s + profile.grace_s) * 1e9)
        while time.monotonic_ns() < until_ns:
            if profile.measures_capacity and not owed(self.directory):
                # Nor can anything come again: longer than whoever rescues waits.
                again_ns = int((self._plan.surroundings.rescue_after_s + profile.grace_s) * 1e9)
                self._stop.sleep_until(min(until_ns, time.monotonic_ns() + again_ns))
                return
            self._stop.sleep_until(min(until_ns, time.monotonic_ns() + LOOK_EVERY_NS))

    def _wait_for_pending(self, settings: Settings, engine: Engine) -> Sequence[Pending]:
        """Wait until the design's own store is empty or its budget is spent; return what is left."""
        give_up_at = time.monotonic() + self._plan.profile.pending_budget_s
        while (pending := self._design.pending(settings, engine)) and time.monotonic() < give_up_at:
            self._stop.sleep(0.1)
        return pending

    def _wait_for_quiet(self, deliveries: Path) -> float:
        """Wait until nothing was delivered for a while, unless it never ends; return for how many seconds."""
        give_up_at = time.monotonic() + QUIET_WITHIN_S
        while (quiet_s := seconds_since_last_delivery(deliveries)) < self._plan.profile.quiet_s:
            if time.monotonic() > give_up_at:
                break
            self._stop.sleep(0.1)
        return quiet_s

    def _kill_all(self, servers: Sequence[Server]) -> None:
        for server in servers:
            with suppress(Exception):
                server.end()

    def _write_plan(self, started: Instant | None = None) -> None:
        plan = {
            "format": 1,
            "design": self._design.name,
            **self._plan.to_json(),
            "plan_hash": self._plan.hash(),
            "started": started._asdict() if started else None,
            "promise": asdict(self._design.promise),
            "versions": {**versions(), **self._site.versions},
        }
        written = self.directory / "plan.json.new"
        written.write_text(json.dumps(plan, indent=1) + "\n")
        written.replace(self.directory / "plan.json")

    def _close(
        self,
        pending: Sequence[Pending],
        *,
        quiet_s: float,
        workers_alive: bool,
        restarts: Sequence[object],
        unseen: Sequence[str],
    ) -> None:
        contents = {name: (self.directory / name).read_bytes() for name in ("plan.json", *RECORDED)}
        closed = {
            "at_ns": time.monotonic_ns(),
            "lines": {name: content.count(b"\n") for name, content in contents.items()},
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
            "pending": [{"op": left.op, "where": left.where} for left in pending],
            "quiet_s": round(quiet_s, 3),
            "workers_alive": workers_alive,
            "restarts": list(restarts),
            "unseen": list(unseen),
        }
        (self.directory / "closed.json").write_text(json.dumps(closed, indent=1) + "\n")


def owed(directory: Path) -> set[str]:
    """The acknowledged revisions that have not been delivered yet, in a run in which nothing is taken back."""
    answers = (json.loads(line) for line in (directory / "history.jsonl").read_bytes().splitlines())
    acknowledged = {answer["op"] for answer in answers if answer["type"] == "ok"}
    lines = (directory / "deliveries.jsonl").read_bytes().splitlines()
    return acknowledged - {json.loads(line)["op"] for line in lines}


def seconds_since_last_delivery(deliveries: Path) -> float:
    """Seconds since the last line that is not a canary; since the beginning of time if there is none."""
    for line in reversed(deliveries.read_bytes().splitlines()):
        record = json.loads(line)
        if record["worker"] != "canary":
            return (time.monotonic_ns() - int(record["at_ns"])) / 1e9
    return time.monotonic()


def versions() -> dict[str, str]:
    packages = ("duetime", "celery", "kombu", "redis", "sqlalchemy", "psycopg")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
