"""A table `inv` in PostgreSQL, of which is counted how often it is read, and which can be locked."""

import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

READ = re.compile(r"(?:statement|execute [^:\n]*): SELECT [^;]*?\sFROM inv\b")
SCHEMA = """
CREATE TABLE IF NOT EXISTS inv (id bigint PRIMARY KEY, name text, share float8);
TRUNCATE inv;
INSERT INTO inv VALUES (1, 'one', 1), (2, 'two', 2), (3, 'broken', 'NaN');
"""


class Shelf:
    """Row 3 has no JSON form."""

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
        """Count the SELECTs of the table since the start."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            return len(READ.findall(log.read().decode(errors="replace")))

    def waiting(self):
        """Count the SELECTs that wait for the lock."""
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'FROM inv'"
        return self.run(statement).fetchone()[0]

    @contextmanager
    def locked(self):
        """Let all who read the table wait meanwhile."""
        with psycopg.connect(self._plain) as connection:
            connection.execute("LOCK TABLE inv IN ACCESS EXCLUSIVE MODE")
            yield connection
            connection.rollback()


class Door:
    """Another name of the directory of a server's Unix socket. Taken away, it is as if the server was stopped."""

    def __init__(self, directory):
        self._directory = directory
        self._home = Path(tempfile.mkdtemp(prefix="door-", dir="/tmp"))  # short: for a socket
        self.path = self._home / "in"
        self.open()

    def open(self):
        self.path.symlink_to(self._directory)

    def shut(self):
        """Let nobody in any more; who is inside is for the test to throw out."""
        self.path.unlink()

    def remove(self):
        shutil.rmtree(self._home)


def database_door(url):
    """Give a door to a PostgreSQL server, and the URL that leads through it."""
    host = parse_qs(urlsplit(url).query)["host"][0]
    door = Door(host)
    return door, url.replace(quote(host), quote(str(door.path)))
