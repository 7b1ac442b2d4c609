"""Valkey server: its command line and the forms of its address."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.demo.servers import programs
from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.server import Server


class Valkey(Server):
    """Valkey server on a private Unix socket.

    `port` adds 127.0.0.1:port; 0 picks a free one and keeps it. `persistent` keeps the data over kill() and start(),
    and in a given directory over stop(). `args` are appended to the command line: ("--io-threads", "2").
    """

    name: ClassVar[str] = "valkey"
    socket_name: ClassVar[str] = "valkey.sock"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        persistent: bool = False,
        args: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self._port = port
        self._persistent = persistent
        self._args = tuple(args)

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

    def tcp_url(self, db: int = 0) -> str:
        """Return the address of a database on 127.0.0.1, for redis-py and Celery."""
        if not self._port:
            raise DemoError("valkey has no TCP address: give it a port (0 picks one) and start it")
        return f"redis://127.0.0.1:{self._port}/{db}"

    @property
    def _socket(self) -> Path:
        return self._private.path / self.socket_name

    def _prepare(self) -> Child:
        data = self.home / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        if self._port == 0:
            self._port = _free_port()
        options = {
            "daemonize": "no",
            "dir": str(data),
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "bind": "127.0.0.1",
            "port": str(self._port or 0),
            "save": "",
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self._persistent else "no",
            # Every reply waits for write(), which survives the death of the process. "everysec" may delay writes by
            # 2 s during an fsync, and "always" pays for surviving a power cut.
            "appendfsync": "no",
        }
        argv = [str(programs.valkey_server())]
        for name, value in options.items():
            argv += [f"--{name}", value]
        # The server of the wheel has no jemalloc. glibc caches 7 freed chunks of a size by default; one script call
        # frees a thousand.
        env = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000"} | os.environ
        return Child([*argv, *self._args], env=env, log=self.log, cwd=self.home)

    def _is_ready(self) -> bool:
        # redis-py would back off for longer than a start takes.
        client = Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        try:
            return bool(client.ping())
        except (RedisConnectionError, RedisTimeoutError):  # the first one also for "loading"
            return False
        finally:
            client.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
