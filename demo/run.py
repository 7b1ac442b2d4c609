"""Steps of the demo: start, schedule, write, refresh, compare."""

import time
from collections.abc import Callable

import psycopg
import redis

from demo.accounts import COUNT, DELAYS, LONGEST_DELAY, TABLE
from demo.comparison import Comparison, StaleRows, compare_rows
from demo.measurement import Measurement, Meter, SampleReader
from demo.processes import LEASE_S, Processes
from demo.servers import DemoError
from demo.view import View, milliseconds
from rowcache_tasks.schedule.connection import connect

TICK_S = 0.5
POLL_S = 0.05
START_TIMEOUT_S = 60.0
CATCH_UP_TIMEOUT_S = 5.0
NORMAL_MS = 250.0
PGBENCH_GRACE_S = 10.0


class Run:
    """One run; methods raise DemoError if a process has ended early."""

    def __init__(self, processes: Processes, view: View) -> None:
        self._processes = processes
        self._view = view
        self._client = connect(processes.valkey.url, "demo")
        self._reader = SampleReader(processes.valkey.url)
        self._meter = Meter(self._client, self._reader)

    def start(self) -> None:
        """Start the dispatcher, the worker, Flower and the application."""
        processes = self._processes
        self._view.say("starting a dispatcher, a worker of 2 processes and Flower")
        processes.start_rowcache()
        self._wait_until(lambda: processes.flower_answers, "Flower did not answer")
        self._view.say(f"Flower: {processes.flower_url}")
        self._wait_until(lambda: self._client.exists(TABLE.keys.schedule) > 0, "the worker did not run a task")

    def schedule(self) -> None:
        """Wait until all rows are scheduled and, for a moment, until the burst of first refreshes is over."""
        intervals = ", ".join(map(str, DELAYS[:-1]))
        self._view.say(f"scheduling all accounts by tasks, every {intervals} or {LONGEST_DELAY} s")
        deadline, phase = time.monotonic() + START_TIMEOUT_S, "scheduling all accounts"
        while (found := self._tick(phase).now.table.scheduled) < COUNT:
            if time.monotonic() > deadline:
                raise DemoError(f"only {found:,} accounts were scheduled within {START_TIMEOUT_S:.0f} s")
        self._meter.restart()
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while (self._tick(phase).late_ms(0.99) or NORMAL_MS) >= NORMAL_MS and time.monotonic() < deadline:
            self._meter.restart()

    def write(self, seconds: int, rate: int) -> None:
        """Change rows with pgbench, and show measurements."""
        self._view.say(f"starting pgbench: {rate} transactions/s for {seconds} s")
        self._processes.start_pgbench(seconds, rate)
        self._meter.restart()
        started = time.monotonic()
        while self._processes.pgbench_runs:
            elapsed_s = time.monotonic() - started
            if elapsed_s > seconds + PGBENCH_GRACE_S:
                raise DemoError(f"pgbench did not end within {PGBENCH_GRACE_S:.0f} s of its time: overloaded")
            self._tick(f"pgbench writes, {min(elapsed_s, seconds):.0f} of {seconds} s")
        self._processes.check()
        total = self._meter.measure(self._meter.first)
        self._view.say(f"pgbench has ended after {self._processes.transactions:,} transactions; meanwhile:")
        self._view.say(
            f"{total.refreshed_per_s:,.0f} refreshes/s, "
            f"lateness p50 {milliseconds(total.late_ms(0.50))}, p99 {milliseconds(total.late_ms(0.99))}"
        )

    def refresh(self) -> None:
        """Wait until every row was refreshed after the last change."""
        seconds, microseconds = self._client.time()
        since = int(seconds) + int(microseconds) / 1e6
        stale = StaleRows(self._client, map(str, range(1, COUNT + 1)), since)
        deadline = time.monotonic() + LONGEST_DELAY + LEASE_S
        self._view.say(f"waiting until every row was refreshed after that, about {LONGEST_DELAY} s")
        while left := stale.count():
            if time.monotonic() > deadline:
                raise DemoError(f"{left:,} rows were not refreshed within {LONGEST_DELAY + LEASE_S:.0f} s")
            self._tick(f"pgbench has ended, {left:,} rows to refresh")
        self._tick("every row was refreshed after the last change")

    def compare(self) -> Comparison:
        """Compare the whole cache with the whole table."""
        self._view.say("comparing every cached row with its database row")
        with psycopg.connect(self._processes.postgres.url.replace("+psycopg", "", 1)) as connection:
            return compare_rows(self._client, connection)

    def _tick(self, phase: str) -> Measurement:
        """Read for a moment, then show a measurement."""
        self._reader.read_for(TICK_S)
        self._processes.check()
        found = self._meter.measure()
        hint = f"Flower: {self._processes.flower_url}    Ctrl-C stops everything"
        self._view.show(found, self._processes.tps, phase, hint)
        return found

    def _wait_until(self, is_true: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_true():
            self._processes.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{failure} within {START_TIMEOUT_S:.0f} s; {self._processes.log_tails()}")
            time.sleep(POLL_S)


def run_demo(processes: Processes, view: View, seconds: int, rate: int) -> Comparison:
    """Start all processes and run the steps; raises DemoError."""
    view.say("starting Valkey")
    processes.start_server(processes.valkey)
    view.say("starting PostgreSQL")
    processes.start_server(processes.postgres)
    view.say(f"making pgbench's tables, {COUNT:,} accounts")
    processes.create_accounts()
    try:
        run = Run(processes, view)
        run.start()
        run.schedule()
        run.write(seconds, rate)
        run.refresh()
        return run.compare()
    except (redis.RedisError, psycopg.Error) as error:
        raise DemoError(f"a server does not answer: {error}; {processes.log_tails()}") from error
