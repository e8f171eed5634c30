"""The command ``duetime demo``."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from duetime import registry
from duetime.cli.latest import link_latest
from duetime.cli.options import OUT, SEED, load_designs, split_names
from duetime.errors import BadUsage
from duetime.harness.runs.output_directory import new_directory
from duetime.interface import Design
from duetime.shell_command import shell_command

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104 - accepted inside a container only
ONE_PER_BROKER = "oban_style_queue"


@click.command(name="demo")
@click.option("--designs", default="", metavar="A,B", help="The designs to run. Default: the three designs.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback; 0.0.0.0 only inside a container.")
@click.option("--port", default=8484, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option(
    "--rate", default=0.0, show_default=True, type=click.FloatRange(0, 100),
    help="Notifications due per second, beside those of the scenes.",
)  # fmt: skip
@click.option(
    "--delivery-time", default=0.04, show_default=True, type=click.FloatRange(0, 1),
    help="Seconds that the gateway takes for one delivery; write 0.002 for a high rate.",
)  # fmt: skip
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@SEED
@OUT
def demo_command(
    designs: str, host: str, port: int, rate: float, delivery_time: float, browser: bool, seed: int, out: Path
) -> None:
    """Inject faults into designs on a live page.

    The designs run side by side: crash workers from the browser and compare what each design loses. A guided tour of
    eight scenes, then a playground. Save writes a run directory for each design, for `duetime check`, `duetime report`
    and `duetime run DESIGN RUN_DIR/plan.json`. Ctrl-C ends the demo.
    """
    from duetime.demo import serve
    from duetime.demo.session import DemoSession
    from duetime.harness.processes.cancellation import CancelToken
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.environment import own_environment
    from duetime.harness.processes.flower import Flower
    from duetime.harness.processes.fork_server import fork_server
    from duetime.harness.processes.services import Services
    from duetime.harness.runs.context import RunContext

    _check_host(host)
    with own_environment() as caller:
        chosen = load_designs(split_names("--designs", designs) or registry.default_designs())
        _check_share_a_broker(designs, list(chosen))
        _check_no_services(designs, chosen)
        listening = serve.bind(host, port)
        url = f"http://{'[::1]' if host == '::1' else LOOPBACK[0]}:{listening.getsockname()[1]}/"
        click.echo("starting the servers: a few seconds", err=True)
        with run_tempdir() as tempdir, fork_server(tempdir) as clients:
            services = Services(tempdir)
            context = RunContext(tempdir, services, services.prepare(side_by_side=1), CancelToken(), clients)

            @contextmanager
            def dashboard(broker_url: str, start: int) -> Iterator[str]:
                if host in ALL_INTERFACES:  # inside a container Flower's port would not be reachable
                    yield ""
                else:
                    with Flower(tempdir / f"flower-{start}", tempdir=tempdir, broker_url=broker_url) as flower:
                        yield flower.url

            def ready() -> None:
                click.echo(serve.startup_message(list(chosen), url, session.dashboard_url))
                if browser:
                    threading.Thread(target=_open_browser, args=(url, caller), daemon=True).start()

            session = DemoSession(
                chosen, context=context, out=tempdir / "live", per_second=rate, seed=seed,
                delivery_time_s=delivery_time, dashboard=dashboard,
            )  # fmt: skip
            with session.running():
                serve.serve(session, listening, out=lambda: link_latest(new_directory(out)), ready=ready)
    click.echo("the demo has ended; every process that it started has ended", err=True)


def _open_browser(url: str, environment: Mapping[str, str]) -> None:
    """Open `url` in the user's browser, which gets the user's own `environment`."""
    program = "import sys, webbrowser; webbrowser.open(sys.argv[1])"
    subprocess.run([sys.executable, "-P", "-c", program, url], env=environment, check=False)


def _check_host(host: str) -> None:
    if host not in (*LOOPBACK, *ALL_INTERFACES):
        raise BadUsage(
            f"--host {host!r}: the page can kill processes and has no password, so it is served on loopback only; "
            "write 127.0.0.1"
        )


def _check_share_a_broker(option: str, names: list[str]) -> None:
    if sum(name.startswith(ONE_PER_BROKER) for name in names) > 1:
        raise BadUsage(
            f"--designs {option!r}: the demo has one broker, on which the shortest visibility timeout applies to every "
            f"design (celery#6236), so only one {ONE_PER_BROKER} variant can run; write one, or use "
            f"`{shell_command('compare')}`"
        )


def _check_no_services(option: str, chosen: Mapping[str, Design]) -> None:
    for name, design in chosen.items():
        if design.services:
            raise BadUsage(
                f"--designs {option!r}: {name} needs a server of its own ({design.services[0].name}), which the demo "
                f"does not start; leave it out, or use `{shell_command('compare')}`"
            )
