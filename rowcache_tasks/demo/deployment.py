"""Own what the demo runs: two servers, the environment that names them, and the processes of a deployment.

Knows nothing of when they are started and of what is shown.
"""

import json
import os
import re
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from rowcache_tasks.demo.account import SCALE, TABLE
from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.demo.servers import Child, Postgres, Valkey
from rowcache_tasks.demo.servers.directory import PrivateDirectory

FLOWER_PORT = 5555
LEASE_S = 30.0
"""Longer than the longest interval: the settlement relies on it."""
PROGRESS = re.compile(r"progress: .*? ([0-9.]+) tps")
PROCESSED = re.compile(r"actually processed: ([0-9]+)")


class Deployment:
    """Everything that is started; the end of the with-block stops it and removes its files."""

    def __init__(self) -> None:
        self.valkey = Valkey()
        self.postgres = Postgres()
        self.flower_port = 0
        self._directory = PrivateDirectory()
        self._root = configuration_root()
        self._children: dict[str, Child] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._directory.remove)
        self._directory.make(longest_name="application.log")
        return self

    def __exit__(self, *exc_info: object) -> None:
        # All at once, then wait for each: together they need no longer than the slowest.
        for child in self._children.values():
            if child.is_running:
                os.kill(child.pid, signal.SIGTERM)
        self._stack.close()

    def start_valkey(self) -> None:
        """Start the cache, which is the broker too."""
        self._stack.enter_context(self.valkey)

    def start_postgres(self) -> None:
        """Start the database server, empty."""
        self._stack.enter_context(self.postgres)

    def create_accounts(self) -> None:
        """Make pgbench's tables."""
        child = self._start("pgbench -i", self.postgres.tool("pgbench", "-i", "-q", "-s", str(SCALE)))
        while child.wait(1.0) is None:
            pass
        self.check()

    def start_dispatcher(self) -> None:
        """Start `celery beat` with the shipped configuration."""
        self._start_celery("dispatcher", "beat", "--loglevel=warning", "--pidfile=")

    def start_worker(self) -> None:
        """Start a prefork worker of two processes."""
        self._start_celery("worker", "worker", "--loglevel=warning", "--concurrency=2")

    def start_flower(self) -> None:
        """Start Flower on its usual port, or on a free one where that is taken."""
        self.flower_port = free_port(FLOWER_PORT)
        self._start_celery("flower", "flower", "--address=127.0.0.1", f"--port={self.flower_port}")

    def start_application(self) -> None:
        """Start the process that sends the schedule."""
        self._start("application", [sys.executable, "-m", "rowcache_tasks.demo.application"])

    def start_pgbench(self, seconds: int, rate: int) -> None:
        """Start changing balances: `rate` transactions a second, for some seconds."""
        arguments = ("--client=4", f"--rate={rate}", f"--time={seconds}", "--progress=1")
        self._start("pgbench", self.postgres.tool("pgbench", *arguments))

    @property
    def flower_url(self) -> str:
        """Where to look at Flower."""
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def flower_answers(self) -> bool:
        """Whether Flower accepts connections yet."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.flower_port), timeout=1.0):
            return True
        return False

    @property
    def pgbench_runs(self) -> bool:
        """Whether pgbench still changes rows. Once it does not, all that it changed is committed."""
        return "pgbench" in self._children and self._children["pgbench"].is_running

    @property
    def tps(self) -> float | None:
        """Transactions a second as pgbench reported them last; None when it does not run."""
        found = PROGRESS.findall(self._children["pgbench"].log_tail(1)) if self.pgbench_runs else None
        return float(found[-1]) if found else None

    @property
    def transactions(self) -> int:
        """How many transactions pgbench made in all; 0 before it has ended."""
        found = PROCESSED.search(self._children["pgbench"].log_tail())
        return int(found[1]) if found else 0

    def check(self) -> None:
        """Raise DemoError when a process has ended that should not have; only pgbench and the application end."""
        for name, child in self._children.items():
            status = child.poll()
            ends = name.startswith("pgbench") or name == "application"
            if status is not None and not (ends and status == 0):
                raise DemoError(f"{name} ended early with status {status}; the end of its log:\n{child.log_tail()}")

    def log_tails(self) -> str:
        """Return the last lines of every log that has some."""
        logs = [self.valkey.log, self.postgres.log, *sorted(self._directory.path.glob("*.log"))]
        tails = ((log.stem, log.read_text(errors="replace").splitlines()[-5:]) for log in logs if log.exists())
        return "the ends of the logs:" + "".join(f"\n{name}:\n  " + "\n  ".join(tail) for name, tail in tails if tail)

    def _start_celery(self, name: str, *arguments: str) -> None:
        self._start(name, [sys.executable, "-m", "celery", "-A", "rowcache_tasks", *arguments])

    def _start(self, name: str, argv: list[str]) -> Child:
        log = self._directory.path / f"{name}.log"
        self._children[name] = child = Child(argv, env=self._env(), log=log, cwd=self._root)
        self._stack.callback(child.stop, signal=0)  # was asked already, see __exit__
        child.start()
        return child

    def _env(self) -> dict[str, str]:
        """Name the servers, as a deployment does; what the user has set for another deployment does not count."""
        foreign = ("CELERY_", "FLOWER_", "ROWCACHE_", "PG")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return env | {
            "ROWCACHE_REDIS_URL": self.valkey.url,
            "ROWCACHE_DATABASE_URL": self.postgres.url,
            "ROWCACHE_TABLES": json.dumps({TABLE.name: {"table": TABLE.table}}),
            "ROWCACHE_LEASE": str(LEASE_S),
            "CELERY_BROKER_URL": self.valkey.broker_url(1),
            "TMPDIR": str(self._directory.path),  # a worker that is killed leaves files there
        }


def configuration_root() -> Path:
    """Return the directory with the shipped celeryconfig.py and flowerconfig.py: that of the repository."""
    root = Path(__file__).resolve().parents[2]
    for name in ("celeryconfig.py", "flowerconfig.py"):
        if not (root / name).is_file():
            raise DemoError(f"the demo runs from the repository: found no {name} in {root}; clone it and run make demo")
    return root


def free_port(wanted: int) -> int:
    """Return the port if nobody listens on it, else one that is free."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            found: int = probe.getsockname()[1]
            return found
    raise DemoError("no TCP port is free on 127.0.0.1")
