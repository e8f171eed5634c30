"""What the commands for a deployed design take from the user's environment, and what they ignore."""

from __future__ import annotations

import os
import re

import click

from duetime.runtime.broker import OVERRIDES

BROKER = "DUETIME_BROKER_URL"
LIBPQ = re.compile(
    r"PG(HOST|HOSTADDR|PORT|DATABASE|USER|PASSWORD|PASSFILE|SERVICE|SERVICEFILE|SYSCONFDIR|OPTIONS|APPNAME|CLIENTENCODING"
    r"|DATESTYLE|TZ|GEQO|CONNECT_TIMEOUT|TARGETSESSIONATTRS|LOADBALANCEHOSTS|REQUIREAUTH|CHANNELBINDING|REQUIRESSL"
    r"|REQUIREPEER|KRBSRVNAME|GSS[A-Z]+|SSL[A-Z]+|MINPROTOCOLVERSION|MAXPROTOCOLVERSION)"
)
"""The variables that libpq reads: https://www.postgresql.org/docs/current/libpq-envars.html."""
CELERY = re.compile(r"CELERY_\w+|C_FORCE_ROOT|KOMBU_\w+|LOADER|CONFIG_MODULE|RESULT_BACKEND")
"""The last three are options of Celery's command line, whose variables have no prefix."""
PROCESS = re.compile(r"PYTHON(?!UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|STARTUP)[A-Z0-9]+|TZ|LC_\w+")
"""Variables that change how Python, its clock or its text work. The exceptions change no result."""


COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def settle_environment(*obeyed: re.Pattern[str]) -> None:
    """Remove the variables with which Celery would replace DUETIME_BROKER_URL, and name what counts, on stderr.

    obeyed: the variables that matter to the command. Only names are printed, because a value may be a password.
    """
    ignored = sorted(name for name in OVERRIDES if os.environ.get(name) and os.environ.get(BROKER))
    differing = [name for name in ignored if os.environ[name] != os.environ[BROKER]]
    for name in ignored:
        del os.environ[name]
    if differing:
        click.echo(f"duetime: ignores {', '.join(differing)}: {BROKER} names the broker", err=True)
    counting = sorted(name for name in os.environ if any(kind.fullmatch(name) for kind in obeyed))
    # Python sets it by itself where no locale is set (PEP 538), and it is passed on.
    if os.environ.get("LC_CTYPE") in COERCED and "LC_CTYPE" in counting:
        counting.remove("LC_CTYPE")
    if counting:
        click.echo(f"duetime: obeys {', '.join(counting)} from the environment", err=True)
