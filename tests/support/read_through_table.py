"""Table `inv` in PostgreSQL that counts the SELECTs made on it and can be locked."""

import re
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

READ = re.compile(r"(?:statement|execute [^:\n]*): SELECT [^;]*?\sFROM inv\b")
SCHEMA = """
CREATE TABLE IF NOT EXISTS inv (id bigint PRIMARY KEY, name text, share float8);
TRUNCATE inv;
INSERT INTO inv VALUES (1, 'one', 1), (2, 'two', 2), (3, 'broken', 'NaN');
"""


class ReadThroughTable:
    """Rows 1 and 2 can be read; row 3 has no JSON form."""

    def __init__(self, server, url):
        self.url, self._log = url, server.log
        self._plain = url.replace("+psycopg", "")
        self._admin = psycopg.connect(self._plain, autocommit=True)
        name = urlsplit(url).path[1:]
        self._admin.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
        self._admin.execute("SET log_statement = 'none'")
        self.run(SCHEMA)
        self._start = self._log.stat().st_size

    def run(self, statement):
        return self._admin.execute(statement)

    def close(self):
        self._admin.close()

    def reads(self):
        """Return the number of SELECTs on the table since the start."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            return len(READ.findall(log.read().decode(errors="replace")))

    def waiting(self):
        """Return the number of SELECTs that wait for the lock."""
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'FROM inv'"
        return self.run(statement).fetchone()[0]

    @contextmanager
    def locked(self):
        """Block every reader of the table inside the `with`."""
        with psycopg.connect(self._plain) as connection:
            connection.execute("LOCK TABLE inv IN ACCESS EXCLUSIVE MODE")
            yield connection
            connection.rollback()
