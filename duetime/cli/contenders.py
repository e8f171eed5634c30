"""The commands ``duetime contenders`` and ``duetime contenders install``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from duetime import contenders
from duetime.errors import BadUsage


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
    names = contenders.names()
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(f"{name:<{width}}  {contenders.missing(name) or 'installed'}")


@contenders_group.command(name="install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Install all of them.")
def install_command(names: Sequence[str], every: bool) -> None:
    """Install what contenders need, each into an environment of its own in your cache.

    What is installed already stays. An installation that was interrupted is repeated. Debian packages need root.

    Exit status: 0 all are installed, 2 one cannot be had on this machine; the others are installed nevertheless.
    """
    if not names and not every:
        raise BadUsage("name contenders, or write --all; `duetime contenders` lists them")
    failed = []
    for name in contenders.names() if every else names:
        try:
            contenders.install(name, click.echo)
        except BadUsage as error:
            click.echo(f"{name}: {error}", err=True)
            failed.append(name)
    if failed:
        raise BadUsage(f"not installed: {', '.join(failed)}")
