"""Try an index for the query "due, and not done" on 200,000 rows: ``check_index.py '(COLUMNS) WHERE CONDITION'``."""

import sys

import psycopg
from sqlalchemy import make_url

from duetime.harness.processes.cleanup import run_tempdir
from duetime.harness.processes.services import Services

FEW_PAGES = 50
TABLE = """
    CREATE TABLE reminders (id bigint PRIMARY KEY, due_at timestamptz NOT NULL, done boolean NOT NULL);
    INSERT INTO reminders SELECT n, now() - n * interval '1 second', n > 20 FROM generate_series(1, 200000) AS n;
    INSERT INTO reminders SELECT -n, now() + n * interval '1 day', false FROM generate_series(1, 1000) AS n;
"""
QUERY = "SELECT id FROM reminders WHERE due_at <= now() AND NOT done"


def pages(url: str, index: str) -> tuple[int, int]:
    """Return how many pages the query touches, and how many the index has."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        try:
            connection.execute(f"CREATE INDEX tried ON reminders {index}")
        except psycopg.Error as error:
            sys.exit(f"PostgreSQL refuses CREATE INDEX … ON reminders {index}: {error.diag.message_primary}")
        connection.execute("VACUUM ANALYZE reminders")
        explained = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {QUERY}").fetchone()
        size = connection.execute("SELECT pg_relation_size('tried') / 8192").fetchone()
    plan = explained[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], size[0]


def verdict(touched: int, size: int) -> str:
    if touched > FEW_PAGES:
        return "Not yet: the query reads reminders that were done long ago."
    if size > FEW_PAGES:
        return "Nearly: the query is fast, but the index keeps what is done, and grows for ever."
    return "Right: query and index have only what is owed, as the read model's table has."


if __name__ == "__main__":
    with run_tempdir() as tempdir:
        services = Services(tempdir, environment={})
        services.prepare(side_by_side=1)
        with services.for_run("exercise", 0) as endpoints:
            url = make_url(endpoints.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
            touched, size = pages(url, " ".join(sys.argv[1:]))
    print(f"20 rows are due; the query touches {touched} pages, the index has {size}.")
    print(verdict(touched, size))
