"""Database that a test sets up, and sources that read it as workers do."""

from sqlalchemy import create_engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source

CREATE_USERS = (
    "CREATE TABLE users (user_id integer PRIMARY KEY, name text NOT NULL, note text)",
    "INSERT INTO users VALUES (1, 'Ann', NULL), (42, 'Bob', 'x'), (43, 'Eve', 'y')",
)


class ScratchDatabase:
    """PostgreSQL or SQLite database: `run` and `insert` set it up, `source` reads a table as a worker does."""

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


def row_values(fetched):
    """Return row id -> tuple of the column values."""
    return {row_id: tuple(row) for row_id, row in fetched.rows.items()}


def encoded_row(db, table, row_id="42", **options):
    """Return the bytes that a worker would cache for a row."""
    fetched = db.source(table, **options).fetch([row_id])
    return fetched.encoder.encode(fetched.rows[row_id])
