"""Load on the database: raises the version of every row several times a second."""

import time

import psycopg
from proof.chaos.repeated_step import RepeatedStep

SHARES = 20


class DatabaseWriter(RepeatedStep):
    """Raises the versions of a share of the rows at each step; reconnects while the database is away."""

    def __init__(self, database_url):
        super().__init__()
        self._url = database_url.replace("+psycopg", "")
        self._connection = None
        self._share = 0
        self.updates = 0

    def step(self):
        self._share = (self._share + 1) % SHARES
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
            done = self._connection.execute(
                "UPDATE inventory SET version = version + 1 WHERE id %% %s = %s", [SHARES, self._share]
            )
            self.updates += done.rowcount
        except psycopg.OperationalError:
            self._connection = None
            time.sleep(0.1)

    def versions(self):
        """Return row id -> present version; needs the database."""
        with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            return {str(row_id): version for row_id, version in connection.execute("SELECT id, version FROM inventory")}
