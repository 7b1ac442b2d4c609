"""Own the story of the demo, in order: start, cache while pgbench writes, settle, compare."""

import time
from collections.abc import Callable

import psycopg
import redis

from rowcache_tasks.demo.account import COUNT, DELAYS, KEY, LONGEST_DELAY, TABLE
from rowcache_tasks.demo.comparison import Comparison, compare_rows
from rowcache_tasks.demo.deployment import LEASE_S, Deployment
from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.demo.gauge import Gauge, Reading
from rowcache_tasks.demo.reader import Reader
from rowcache_tasks.demo.settlement import Settlement
from rowcache_tasks.demo.view import View, milliseconds
from rowcache_tasks.reader import RowCache
from rowcache_tasks.schedule.connection import connect

TICK_S = 0.5
POLL_S = 0.05
START_TIMEOUT_S = 60.0
CATCH_UP_TIMEOUT_S = 5.0
NORMAL_MS = 250.0
PGBENCH_GRACE_S = 10.0


class Run:
    """One run of the demo. Its methods raise DemoError when something that it started has ended early."""

    def __init__(self, deployment: Deployment, view: View) -> None:
        self._deployment = deployment
        self._view = view
        self._client = connect(deployment.valkey.url, "demo")
        self._reader = Reader(RowCache(TABLE.name, url=deployment.valkey.url))
        self._gauge = Gauge(self._client, self._reader)

    def start(self) -> None:
        """Start what caches rows."""
        deployment = self._deployment
        self._view.say("starting a dispatcher, a worker of 2 processes and Flower")
        deployment.start_worker()
        deployment.start_dispatcher()
        deployment.start_flower()
        deployment.start_application()  # its tasks wait in the queue
        self._wait_until(lambda: deployment.flower_answers, "Flower did not answer")
        self._view.say(f"Flower: {deployment.flower_url}")
        self._wait_until(lambda: self._client.exists(TABLE.keys.schedule) > 0, "the worker did not run a task")

    def schedule(self) -> None:
        """Wait until all rows are scheduled and, for a moment, until the burst that this makes is worked off."""
        intervals = ", ".join(map(str, DELAYS[:-1]))
        self._view.say(f"scheduling all accounts by tasks, every {intervals} or {LONGEST_DELAY} s")
        deadline, phase = time.monotonic() + START_TIMEOUT_S, "scheduling all accounts"
        while (found := self._tick(phase).scheduled) < COUNT:
            if time.monotonic() > deadline:
                raise DemoError(f"only {found:,} accounts were scheduled within {START_TIMEOUT_S:.0f} s")
        self._gauge = Gauge(self._client, self._reader)
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while (self._tick(phase).p99_ms or NORMAL_MS) >= NORMAL_MS and time.monotonic() < deadline:
            self._gauge = Gauge(self._client, self._reader)

    def write(self, seconds: int, rate: int) -> None:
        """Let pgbench change rows, and show what readers get meanwhile."""
        self._view.say(f"starting pgbench: {rate} transactions/s for {seconds} s")
        self._deployment.start_pgbench(seconds, rate)
        started, self._gauge = time.monotonic(), Gauge(self._client, self._reader)
        while self._deployment.pgbench_runs:
            elapsed_s = time.monotonic() - started
            if elapsed_s > seconds + PGBENCH_GRACE_S:
                raise DemoError(f"pgbench did not end within {PGBENCH_GRACE_S:.0f} s of its time: overloaded")
            self._tick(f"pgbench writes, {min(elapsed_s, seconds):.0f} of {seconds} s")
        self._deployment.check()
        total = self._gauge.total()
        self._view.say(f"pgbench has ended after {self._deployment.transactions:,} transactions; meanwhile:")
        self._view.say(
            f"{total.refreshed_per_s:,.0f} refreshes/s, "
            f"lateness p50 {milliseconds(total.p50_ms)}, p99 {milliseconds(total.p99_ms)}"
        )

    def settle(self) -> None:
        """Wait until every row was refreshed after the last change."""
        seconds, microseconds = self._client.time()
        since = int(seconds) + int(microseconds) / 1e6
        settlement = Settlement(self._client, TABLE, map(str, range(1, COUNT + 1)), since)
        deadline = time.monotonic() + LONGEST_DELAY + LEASE_S
        self._view.say(f"waiting until every row was refreshed after that, about {LONGEST_DELAY} s")
        while left := settlement.count_left():
            if time.monotonic() > deadline:
                raise DemoError(f"{left:,} rows were not refreshed within {LONGEST_DELAY + LEASE_S:.0f} s")
            self._tick(f"pgbench has ended, {left:,} rows to refresh")
        self._tick("every row was refreshed after the last change")

    def compare(self) -> Comparison:
        """Compare the whole cache with the whole table."""
        self._view.say("comparing every cached row with its database row")
        with psycopg.connect(self._deployment.postgres.url.replace("+psycopg", "", 1)) as connection:
            return compare_rows(self._client, connection, TABLE, KEY)

    def _tick(self, phase: str) -> Reading:
        """Read for a moment, then show the figures."""
        self._reader.read_until(time.monotonic() + TICK_S)
        self._deployment.check()
        reading = self._gauge.read(self._deployment.tps)
        self._view.show(reading, phase, f"Flower: {self._deployment.flower_url}    Ctrl-C stops everything")
        return reading

    def _wait_until(self, is_true: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_true():
            self._deployment.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{failure} within {START_TIMEOUT_S:.0f} s; {self._deployment.log_tails()}")
            time.sleep(POLL_S)


def play(deployment: Deployment, view: View, seconds: int, rate: int) -> Comparison:
    """Play the demo on a deployment of which nothing runs yet. Raises DemoError and EmbeddedError."""
    view.say("starting Valkey")
    deployment.start_valkey()
    view.say("starting PostgreSQL")
    deployment.start_postgres()
    view.say(f"making pgbench's tables, {COUNT:,} accounts")
    deployment.create_accounts()
    try:
        run = Run(deployment, view)
        run.start()
        run.schedule()
        run.write(seconds, rate)
        run.settle()
        return run.compare()
    except (redis.RedisError, psycopg.Error) as error:
        raise DemoError(f"a server does not answer: {error}; {deployment.log_tails()}") from error
