"""Commands that show what happened: report, demo."""

from __future__ import annotations

import json
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetime import registry
from duetime.cli.options import OUT, SEED, listed, loaded, new_directory
from duetime.errors import BadUsage, NotARun

if TYPE_CHECKING:
    from duetime.report.page import Picture

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - named to be told apart, not listened on


@click.command(name="report")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"), show_default=True,
    help="The page; it holds everything, and asks no network.",
)  # fmt: skip
@click.option(
    "--benchmark", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file that pytest benchmarks/ --benchmark-json FILE wrote: its medians come along.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False),
    help="Draw one run as a still picture into this file instead.",
)  # fmt: skip
def report_command(run_dirs: Sequence[Path], out: Path, benchmark: Path | None, svg: Path | None) -> None:
    """Make the page about stored runs again. RUN_DIR is a run's directory, or one with runs anywhere below it.

    \b
      duetime report runs/20300101-120000
      duetime report runs/20300101-120000/downtime/pull_worker-seed1 --svg downtime.svg
    """
    from duetime.harness.runs.compare import stored_cell
    from duetime.report.page import write_page

    found = [plan.parent for run_dir in run_dirs for plan in sorted(run_dir.rglob("plan.json"))]
    if not found:
        raise BadUsage(f"no run below {', '.join(map(str, run_dirs))}: give what `duetime compare` printed as kept in")
    if svg:
        _draw(found, svg)
        return
    cells = []
    for run_dir in dict.fromkeys(found):
        try:
            cells.append(stored_cell(run_dir).to_json())
        except (NotARun, OSError) as error:
            click.echo(f"duetime: left out: {error}", err=True)
    if not cells:
        raise BadUsage("none of these runs can be read")
    cells.sort(key=_place)
    try:
        stored = json.loads(benchmark.read_bytes()) if benchmark else None
        path = write_page(cells, out, ideas=_ideas(), benchmark=stored)
    except OSError as error:
        raise BadUsage(f"--out {str(out)!r} cannot be written ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        if benchmark is None:
            raise
        raise BadUsage(f"{benchmark} is no file of pytest-benchmark's: {type(error).__name__} {error}") from error
    click.echo(f"{len(cells)} runs, {path.stat().st_size / 1e6:.1f} MB: {path.absolute().as_uri()}")


@click.command(name="demo")
@click.option("--designs", default="", metavar="A,B", help="Who runs side by side. Default: the three designs.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback; 0.0.0.0 only inside a container.")
@click.option("--port", default=8484, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--rate", default=2.0, show_default=True, type=click.FloatRange(0, 100), help="Notifications due in a second."
)
@click.option(
    "--delivery-time", default=0.04, show_default=True, type=click.FloatRange(0, 1),
    help="Seconds that the outside world takes over one; 0.002 for many a second.",
)  # fmt: skip
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser, if there is one.")
@SEED
@OUT
def demo_command(
    designs: str, host: str, port: int, rate: float, delivery_time: float, browser: bool, seed: int, out: Path
) -> None:
    """Show it live: the designs side by side on one page, to be hurt by whoever watches.

    A guided tour of eight scenes, then a playground. Save keeps a run directory for each design, which `duetime check`
    judges, `duetime report` draws, and `duetime run DESIGN RUN_DIR/plan.json` does again. Ctrl-C ends everything.
    """
    from duetime.demo import serve
    from duetime.demo.session import SCENARIO, DemoSession
    from duetime.harness.processes.cancellation import CancelToken
    from duetime.harness.processes.cleanup import run_tempdir
    from duetime.harness.processes.flower import Flower
    from duetime.harness.processes.services import Services
    from duetime.harness.runs.context import RunContext

    chosen = loaded(listed("--designs", designs) or list(registry.default_designs()))
    if sum(name.startswith("oban_style_queue") for name in chosen) > 1:
        raise BadUsage(
            f"--designs {designs!r}: on one broker the shortest visibility timeout holds for all (celery#6236), so "
            "only one of the oban_style_queue family can be in a demo; name one, or use `duetime compare`"
        )
    if host not in (*LOOPBACK, *EVERYWHERE):
        raise BadUsage(
            f"--host {host!r}: the demo kills processes for whoever opens it, so it is loopback's: 127.0.0.1"
        )
    listening = serve.bind(host, port)
    url = f"http://{'[::1]' if host == '::1' else LOOPBACK[0]}:{listening.getsockname()[1]}/"
    click.echo("starting the servers: a few seconds", err=True)
    with run_tempdir() as tempdir:
        services = Services(tempdir)
        context = RunContext(tempdir, services, services.prepare(side_by_side=1), CancelToken())
        live = DemoSession(
            chosen, context=context, out=tempdir / "live", a_second=rate, seed=seed, delivery_time_s=delivery_time
        )
        with live.running(), ExitStack() as beside:
            # Inside a container it would be out of reach.
            there = host not in EVERYWHERE
            dashboard = Flower(tempdir / SCENARIO / "flower", broker_url=live.broker_url) if there else None
            flower_url = beside.enter_context(dashboard).url if dashboard else ""

            def ready() -> None:
                click.echo(serve.told(list(chosen), url, flower_url))
                if browser:
                    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

            serve.serve(live, listening, out=lambda: new_directory(out), flower_url=flower_url, ready=ready)
    click.echo("the demo has ended; nothing is left running", err=True)


def _draw(run_dirs: Sequence[Path], svg: Path) -> None:
    from duetime.checker import judge_history
    from duetime.history import load
    from duetime.report.lane import lane
    from duetime.report.strip import strip

    if len(run_dirs) != 1:
        raise BadUsage(f"--svg draws one run, and there are {len(run_dirs)}; give the directory of one of them")
    history = load(run_dirs[0])
    try:
        svg.write_text(strip(lane(history, judge_history(history))))
    except OSError as error:
        raise BadUsage(f"--svg {str(svg)!r} cannot be written ({error.strerror})") from error
    click.echo(f"{svg} is a picture of {run_dirs[0]}")


def write_report(
    rows: Sequence[Mapping[str, Any]], directory: Path, pictures: Mapping[str, Picture] | None = None
) -> Path | None:
    """The report beside the runs; None, with a word on standard error, where it could not be made."""
    from duetime.report.page import write_page

    try:
        return write_page(rows, directory / "report.html", ideas=_ideas(), pictures=pictures)
    except Exception as error:  # noqa: BLE001 - a broken picture never changes a verdict
        click.echo(f"duetime: no report was written ({type(error).__name__}: {error}); the verdicts stand", err=True)
        return None


def _place(cell: Mapping[str, Any]) -> tuple[int, int, int]:
    """Where a cell stands in a matrix: as `duetime scenarios` and `duetime designs` list them, others last."""
    from duetime.harness.plan import lookup

    known, designs = lookup.names(), registry.names()
    scenario, design = cell["scenario"], cell["design"]
    return (
        known.index(scenario) if scenario in known else len(known),
        cell["seed"],
        designs.index(design) if design in designs else len(designs),
    )


def _ideas() -> Mapping[str, str]:
    from duetime.harness.plan import catalogue

    return {scenario.name: f"{scenario.what[:1].upper()}{scenario.what[1:]}. It teaches: {scenario.demonstrates}."
            for scenario in catalogue.ALL}  # fmt: skip
