"""Servers and processes of the demo, and their environment."""

import json
import os
import re
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from demo.accounts import TABLE
from demo.servers import Child, DemoError, Postgres, Server, Valkey

FLOWER_PORT = 5555
LEASE_S = 30.0
"""Longer than the longest interval, as StaleRows requires."""
PROGRESS = re.compile(r"progress: .*? ([0-9.]+) tps")
PROCESSED = re.compile(r"actually processed: ([0-9]+)")


class Processes:
    """Servers and processes; the end of the with-block stops them and removes their files."""

    def __init__(self) -> None:
        self.valkey = Valkey()
        self.postgres = Postgres()
        self.flower_port = 0
        self._root = configuration_root()
        self._children: dict[str, Child] = {}
        self._stack = ExitStack()
        self._directory = Path()

    def __enter__(self) -> Self:
        directory = tempfile.TemporaryDirectory(prefix="rowcache-", ignore_cleanup_errors=True)
        self._directory = Path(self._stack.enter_context(directory))
        return self

    def __exit__(self, *exc_info: object) -> None:
        # All at once: together they need no longer than the slowest.
        for child in self._children.values():
            if child.is_running:
                os.kill(child.pid, signal.SIGTERM)
        self._stack.close()

    def start_server(self, server: Server) -> None:
        """Start the cache, which is also the broker, or the empty database."""
        self._stack.enter_context(server)

    def create_accounts(self) -> None:
        """Make the tables of pgbench."""
        self._start("pgbench -i", self.postgres.tool("pgbench", "-i", "-q"))
        while self._children["pgbench -i"].wait(1.0) is None:
            pass
        self.check()

    def start_rowcache(self) -> None:
        """Start a dispatcher, a worker of two processes, Flower on its usual or a free port, and the application."""
        self.flower_port = free_port(FLOWER_PORT)
        celery = [sys.executable, "-m", "celery", "-A", "rowcache_tasks"]
        self._start("worker", [*celery, "worker", "--loglevel=warning", "--concurrency=2"])
        self._start("dispatcher", [*celery, "beat", "--loglevel=warning", "--pidfile="])
        self._start("flower", [*celery, "flower", "--address=127.0.0.1", f"--port={self.flower_port}"])
        # Its tasks wait in the queue for the worker.
        self._start("application", [sys.executable, "-m", "demo.application"])

    def start_pgbench(self, seconds: int, rate: int) -> None:
        """Start pgbench: `rate` transactions a second."""
        arguments = ("--client=4", f"--rate={rate}", f"--time={seconds}", "--progress=1")
        self._start("pgbench", self.postgres.tool("pgbench", *arguments))

    @property
    def flower_url(self) -> str:
        """The URL of Flower."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def flower_answers(self) -> bool:
        """Whether Flower accepts connections yet."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.flower_port), timeout=1.0):
            return True
        return False

    @property
    def pgbench_runs(self) -> bool:
        """Whether pgbench runs; after its end all its changes are committed."""
        return "pgbench" in self._children and self._children["pgbench"].is_running

    @property
    def tps(self) -> float | None:
        """Transactions a second as pgbench reported last; None if it does not run."""
        found = PROGRESS.search(self._children["pgbench"].log_tail(1)) if self.pgbench_runs else None
        return float(found[1]) if found else None

    @property
    def transactions(self) -> int:
        """Transactions in all; 0 before the end of pgbench."""
        found = PROCESSED.search(self._children["pgbench"].log_tail())
        return int(found[1]) if found else 0

    def check(self) -> None:
        """Raise DemoError if a process has ended; pgbench and the application may end with status 0."""
        for name, child in self._children.items():
            status = child.poll()
            ends = name.startswith("pgbench") or name == "application"
            if status is not None and not (ends and status == 0):
                raise DemoError(f"{name} ended early with status {status}; the end of its log:\n{child.log_tail()}")

    def log_tails(self) -> str:
        """Return the last lines of every log."""
        everything: dict[str, Child] = {"valkey": self.valkey, "postgres": self.postgres, **self._children}
        tails = ((name, child.log_tail(5).replace("\n", "\n  ")) for name, child in everything.items())
        return "the ends of the logs:" + "".join(f"\n{name}:\n  {tail}" for name, tail in tails if tail)

    def _start(self, name: str, argv: list[str]) -> None:
        log = self._directory / f"{name}.log"
        self._children[name] = child = Child(argv, env=self._env(), log=log, cwd=self._root)
        self._stack.callback(child.stop, signal=0)  # __exit__ has sent SIGTERM
        child.start()

    def _env(self) -> dict[str, str]:
        """Return the environment: that of the user without settings of other deployments, and the servers."""
        foreign = ("CELERY_", "FLOWER_", "ROWCACHE_", "PG")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return env | {
            "ROWCACHE_REDIS_URL": self.valkey.url,
            "ROWCACHE_DATABASE_URL": self.postgres.url,
            "ROWCACHE_TABLES": json.dumps({TABLE.name: {"table": TABLE.table, "namespace": TABLE.namespace}}),
            "ROWCACHE_LEASE": str(LEASE_S),
            "CELERY_BROKER_URL": self.valkey.broker_url(1),
            "TMPDIR": str(self._directory),  # a killed worker leaves files there
        }


def configuration_root() -> Path:
    """Return the root of the repository, with celeryconfig.py and flowerconfig.py."""
    root = Path(__file__).resolve().parents[1]
    for name in ("celeryconfig.py", "flowerconfig.py"):
        if not (root / name).is_file():
            raise DemoError(f"the demo runs from the repository: found no {name} in {root}; clone it and run make demo")
    return root


def free_port(wanted: int) -> int:
    """Return this port if it is free, else another free one."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            found: int = probe.getsockname()[1]
            return found
    raise DemoError("no TCP port is free on 127.0.0.1")
