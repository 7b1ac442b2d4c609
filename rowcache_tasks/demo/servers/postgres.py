"""PostgreSQL server: its set-up, its command line and its addresses."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from rowcache_tasks.demo.error import REMEDY, DemoError
from rowcache_tasks.demo.servers import programs
from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.run_as import RunAs, find_ordinary_user
from rowcache_tasks.demo.servers.server import START_TIMEOUT_S, Server

try:
    import psycopg
    from psycopg import sql
except ModuleNotFoundError as missing:  # an extra
    raise DemoError(f"the servers need the package {missing.name}, not installed: {REMEDY}") from missing

_USER = "postgres"
_PORT = "5432"  # part of the name of the socket; always given, so that PGPORT is ignored
_CLUSTER = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Only needed against a crash of the operating system. With synchronous_commit on, a commit is in the cache of the
    # system before the client is answered, so kill() loses nothing.
    "fsync": "off",
    "full_page_writes": "off",
    # In the data directory: /dev/shm would keep the segments of a killed server.
    "dynamic_shared_memory_type": "mmap",
    # Ends the query of a killed client, which would outlive the server.
    "client_connection_check_interval": "500ms",
}


class Postgres(Server):
    """PostgreSQL server on a private Unix socket, without TCP; its superuser postgres has no password.

    The data survives kill() and start(). `args` are appended to the command line: ("-c", "shared_buffers=512MB"). Root
    runs it as another user, see run_as.py.
    """

    name: ClassVar[str] = "postgres"
    socket_name: ClassVar[str] = f".s.PGSQL.{_PORT}"

    def __init__(self, directory: Path | None = None, *, args: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self._args = tuple(args)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database postgres."""
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        host = quote(str(self._private.path))
        return f"postgresql+psycopg://{_USER}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its SQLAlchemy URL; raises DemoError if it exists."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        with self._connect() as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.DuplicateDatabase:
                raise DemoError(f"database {name!r} exists already: choose another name") from None
        return self.url_for(name)

    def tool(self, name: str, *args: str) -> list[str]:
        """Return the argv of a client program, such as psql or pgbench, that connects to this server.

        The database is postgres unless `args` has "-d", NAME.
        """
        argv = [str(programs.postgres(name)), "-h", str(self._private.path), "-p", _PORT, "-U", _USER]
        # By default pgbench takes the name of the system's user as the database, the others that of -U.
        return [*argv, *(("-d", "postgres") if name == "pgbench" else ()), *args]

    def _prepare(self) -> Child:
        user = find_ordinary_user(programs.postgres("postgres"))
        user.take(self._private.path)
        data = self.home / "data"
        if not data.exists():
            self._create_cluster(data, user)
        argv = [str(programs.postgres("postgres")), "-D", str(data), "-p", _PORT, "-k", str(self._private.path)]
        for setting, value in _SETTINGS.items():
            argv += ["-c", f"{setting}={value}"]
        # SIGINT: shutdown that does not wait for clients.
        return self._program([*argv, *self._args], self.log, user, stop_signal=signal.SIGINT)

    def _create_cluster(self, data: Path, user: RunAs) -> None:
        # Under another name until it is complete: an interrupted initdb leaves no broken cluster.
        unfinished = data.with_name("data.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        user.take(unfinished)
        argv = [str(programs.postgres("initdb")), "-D", str(unfinished), "-U", _USER, *_CLUSTER]
        initdb = self._program(argv, self.home / "initdb.log", user)
        with initdb:
            status = initdb.wait(START_TIMEOUT_S)
            initdb.kill()
        if status != 0:
            found = f"did not end within {START_TIMEOUT_S:.0f} s" if status is None else f"ended with {status}"
            raise DemoError(f"initdb {found}; the end of its log:\n{initdb.log_tail()}")
        unfinished.rename(data)

    def _program(self, argv: Sequence[str], log: Path, user: RunAs, stop_signal: int = signal.SIGTERM) -> Child:
        env = os.environ | {"LC_ALL": "C"}  # English in the logs
        return Child(argv, env=env, log=log, cwd=self.home, stop_signal=stop_signal, user=user)

    def _may_start_again(self, child: Child) -> bool:
        # Queries of a killed server run until they notice, or until their clients disconnect.
        return "pre-existing shared memory block" in child.log_tail()

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self._private.path),
            port=_PORT,
            user=_USER,
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        )

    def _is_ready(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:  # no socket yet, or still recovering
            return False
        return True
