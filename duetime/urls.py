"""Checks the URL of a database or a broker before anything connects, so that a wrong scheme is not a wrong host."""

from __future__ import annotations

from duetime.errors import BadUsage

POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
REDIS = ("redis", "rediss")


def sqlalchemy_url(url: str, *, variable: str = "DUETIME_DATABASE_URL") -> str:
    """Return `url` with psycopg as the driver, so that ``postgresql://`` and ``postgres://`` work as in other tools.

    Raises:
        BadUsage: no URL of PostgreSQL.
    """
    scheme = _scheme(variable, url, "postgresql://user@host:5432/name")
    if scheme not in POSTGRESQL:
        reason = (
            "duetime brings a driver of its own, psycopg"
            if scheme.partition("+")[0] in POSTGRESQL
            else "duetime needs PostgreSQL"
        )
        raise BadUsage(f"{variable} begins with {scheme}://, and {reason}; write postgresql://user@host:5432/name")
    return f"postgresql+psycopg://{url.partition('://')[2]}"


def libpq_url(url: str) -> str:
    """Return a URL of SQLAlchemy, of one server or of several, as libpq writes it."""
    from sqlalchemy import make_url

    parsed = make_url(url).set(drivername="postgresql")
    hosts = parsed.query.get("host", ())
    if isinstance(hosts, str) or not hosts:
        return parsed.render_as_string(hide_password=False)
    others = {name: value for name, value in parsed.query.items() if name != "host"}
    marked = parsed.set(query=others, host="hosts.invalid").render_as_string(hide_password=False)
    return marked.replace("hosts.invalid", ",".join(hosts), 1)


def redis_url(url: str, *, variable: str = "DUETIME_BROKER_URL") -> str:
    """Return `url`, which names a Redis or Valkey that a run may use.

    Raises:
        BadUsage: it names something else.
    """
    scheme = _scheme(variable, url, "redis://host:6379/0")
    if scheme not in REDIS:
        is_valkey = scheme.startswith("valkey")
        reason = "Valkey is reached as redis://" if is_valkey else "duetime needs Redis or Valkey by TCP"
        raise BadUsage(f"{variable} begins with {scheme}://, and {reason}; write redis://host:6379/0")
    return url


def _scheme(variable: str, url: str, example: str) -> str:
    # Without the URL in any message: it may hold a password, also where it cannot be parsed.
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise BadUsage(f"{variable} is no URL; write {example}")
    from sqlalchemy import make_url  # `duetime health` reads the settings and must not wait for this import
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(url)
    except (ArgumentError, ValueError):
        raise BadUsage(
            f"{variable} cannot be parsed; write {example}, and special characters of a password as %40, %2F …"
        ) from None
    return scheme.lower()
