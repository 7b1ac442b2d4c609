"""Admission of schedule changes: refusal, or a warning, of what the workers cannot keep."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.errors import AdmissionError
from rowcache_tasks.errors.text import show_count
from rowcache_tasks.schedule.load import Load, interval_of, pool_of, read_loads
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.process import parse_processes
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)

Admit = Callable[[Mapping[str, float]], None]
"""Called with row id -> delay before each batch of rows is scheduled. Raises AdmissionError."""


def admit_all(_: Mapping[str, float]) -> None:
    """Check nothing."""


READ_INTERVAL_S = 1.0


class Admission:
    """Compares the demand after a change with the capacity. Both are read once a second, with own changes between."""

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._loads: dict[str, Load] = {}
        self._workers = ""
        self._read_at = -READ_INTERVAL_S

    def admit(self, table: Table, delays: Mapping[str, float], *, only_new: bool = False) -> None:
        """Check the delays of rows. `only_new`: rows that are scheduled keep theirs.

        Raises AdmissionError where the table says so; else a warning is logged, once a minute. What is not measured is
        admitted, and so is what lowers the demand.
        """
        load = self.load(table)
        if load.capacity is None:
            return
        added = self._added(table, delays, only_new=only_new)
        self._check(table, len(delays), load.demand + added, load.capacity, is_more=added > 0)
        self._loads[table.name] = replace(load, demand=load.demand + added)

    def admit_rows_of(self, table: Table, count: int | None, delay_s: float) -> Admit:
        """Check the delay of all rows of a table, as `admit`; return a check of batches if their number is unknown."""
        if count is None:
            return partial(self.admit, table)
        load, wanted = self.load(table), count / interval_of(table, delay_s)
        if load.capacity is not None:
            self._check(table, count, wanted, load.capacity, is_more=wanted > load.demand)
            self._loads[table.name] = replace(load, demand=max(wanted, load.demand))
        return admit_all

    def load(self, table: Table) -> Load:
        """Return the load of a table as it was a second ago or later, with own changes."""
        if time.monotonic() - self._read_at >= READ_INTERVAL_S:
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(self._settings.names.processes, 0, -1, withscores=True)
            times, noted = pipeline.execute(raise_on_error=False)
            seconds, microseconds = self._client.time() if isinstance(times, NodeAwayError) else times
            processes = parse_processes(seconds + microseconds / 1e6, noted if isinstance(noted, list) else [])
            self._loads = read_loads(self._client, self._settings, processes)
            workers = pool_of(self._settings, processes)
            size = sum(worker.pool for worker in workers)
            self._workers = f"{size} {'process' if size == 1 else 'processes'} of {show_count(len(workers), 'worker')}"
            self._read_at = time.monotonic()
        return self._loads[table.name]

    def _added(self, table: Table, delays: Mapping[str, float], *, only_new: bool) -> float:
        """Return the refreshes a second by which the demand grows: without those of rows that are scheduled."""
        parts: Any = table.divide(delays) + (table.old.divide(delays) if table.growing_from else [])
        pipeline: Any = self._client.pipeline(transaction=False)
        for part, row_ids in parts:
            pipeline.zmscore(part.keys.delay, [encode_row_id(row_id) for row_id in row_ids])
        present: dict[str, float] = {}
        for (_, row_ids), found in zip(parts, pipeline.execute(), strict=True):
            present |= {row_id: delay_s for row_id, delay_s in zip(row_ids, found, strict=True) if (delay_s or 0) > 0}
        added = sum(1 / interval_of(table, delays[row_id]) for row_id in delays if not (only_new and row_id in present))
        return added if only_new else added - sum(1 / interval_of(table, delay_s) for delay_s in present.values())

    def _check(self, table: Table, rows: int, wanted: float, capacity: float, *, is_more: bool) -> None:
        if not is_more or wanted <= capacity:
            return
        text = (
            f"schedule {show_count(rows, 'row')} of {table.name!r}: it would need {show_rate(wanted)} refreshes a "
            f"second, and {self._workers} can do {show_rate(capacity)}"
        )
        if table.admission == "refuse":
            raise AdmissionError(f"{text}: start more workers, raise delays, or leave 'admission' of the table out")
        warn_once(logger, f"admission {table.name}", "overload: %s: rows will be late", text)


def show_rate(rate: float) -> str:
    """Write refreshes a second: 1,234 or 0.25."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
