"""The commands ``duetime contenders`` and ``duetime contenders install``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from duetime import contender_install, contenders
from duetime.errors import BadUsage
from duetime.shell_command import shell_command


@click.group(name="contenders", invoke_without_command=True)
@click.pass_context
def contenders_group(context: click.Context) -> None:
    """List the libraries of others that duetime can run, and whether this machine has what they need.

    Each is a design, `contender:NAME`, and often `contender:NAME:tuned`, its best documented configuration.

    \b
      duetime contenders install procrastinate oban
      duetime compare --designs push_readmodel,contender:procrastinate --scenarios calm,crash
    """
    if context.invoked_subcommand:
        return
    contenders.check_present()
    names = contenders.names()
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(f"{name:<{width}}  {_state(name)}")


def _state(name: str) -> str:
    missing = contenders.missing(name)
    obstacle = contender_install.obstacle(name) if missing else ""
    return f"not installed, and cannot be here: {obstacle}" if obstacle else missing or "installed"


@contenders_group.command(name="install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Install all of them.")
def install_command(names: Sequence[str], every: bool) -> None:
    """Install what contenders need, each into an environment of its own in your cache.

    With uv if it is on the PATH, else with pip. What is installed already stays. An installation that was interrupted
    is repeated; a second one at the same time waits. Debian packages need root.

    Exit status: 0 all are installed, 2 one cannot be had on this machine; the others are installed nevertheless.
    """
    if not names and not every:
        raise BadUsage(f"name contenders, or write --all; `{shell_command('contenders')}` lists them")
    contenders.check_present()
    failed = []
    for name in contenders.names() if every else names:
        try:
            contender_install.install(name, click.echo)
        except BadUsage as error:
            click.echo(f"{name}: cannot be installed: {error}", err=True)
            failed.append(name)
    if failed:
        raise BadUsage(f"not installed: {', '.join(failed)}")
