"""A database that tests set up, and what they read from it with."""

import psycopg
from sqlalchemy import create_engine, event

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.source import Source, create_source_engine

USERS = (
    "CREATE TABLE users (user_id integer PRIMARY KEY, name text NOT NULL, note text)",
    "INSERT INTO users VALUES (1, 'Ann', NULL), (42, 'Bob', 'x'), (43, 'Eve', 'y')",
)


class Database:
    """A database that a test may set up, and engines made by the code under test."""

    def __init__(self, url):
        self.url = url
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT")
        self._engines = []

    def run(self, *statements):
        with self._admin.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement if "sqlite" in self.url else statement.replace("%", "%%"))

    def insert(self, table, *row):
        with self._admin.connect() as connection:
            marks = ", ".join(["?" if "sqlite" in self.url else "%s"] * len(row))
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", row)

    def engine(self, **options):
        self._engines.append(create_source_engine(self.url, **{"statement_timeout_s": 10} | options))
        return self._engines[-1]

    def source(self, table, **options):
        return Source(self.engine(), Table("inv", table, **options))

    def close(self):
        for engine in (self._admin, *self._engines):
            engine.dispose()


def values(fetched):
    return {row_id: tuple(row) for row_id, row in fetched.rows.items()}


def statements_of(engine):
    """Collect the SQL that the engine sends from now on."""
    sent = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


def batches_of(engine):
    """Collect the SQL that cursors of psycopg send for the engine from now on, SQLAlchemy's or not."""
    sent = []

    class Cursor(psycopg.Cursor):
        def execute(self, query, *args, **keywords):
            sent.append(query)
            return super().execute(query, *args, **keywords)

    event.listen(engine, "checkout", lambda connection, *_: setattr(connection, "cursor_factory", Cursor))
    return sent


def cached(db, table, row_id="42", **options):
    """Give what workers would cache of a row."""
    source = db.source(table, **options)
    return source.encoder.encode(source.fetch([row_id]).rows[row_id])
