"""Prometheus exporter: metrics of all processes, read from Redis.

Needs the extra `metrics`. The only label is `table`: each row id would be a series for ever.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.health import Health, read_health
from rowcache_tasks.ops.status import COUNTERS, Snapshot, read_snapshot

__all__ = ["MetricsServer", "RowCacheCollector"]

logger = logging.getLogger(__name__)

BUCKET_CLASSES = range(0, 73, 4)
"""Bounds from 1 ms to 262 s, by factors of two. They are bounds of lateness classes (2^(class / 4) ms), so exact."""

COUNTER_HELP: Mapping[str, str] = {
    "claimed": "Rows claimed by dispatchers.",
    "refreshed": "Refreshes that wrote a new value.",
    "unchanged": "Refreshes that found the cached value.",
    "superseded": "Refreshes that were not written, as a newer one was.",
    "dropped": "Rows that were dropped from the cache.",
    "missing": "Refreshes that did not find the row in the database.",
    "failed": "Refreshes that failed.",
}


GAUGES: tuple[tuple[str, str, Callable[[Snapshot], float | None]], ...] = (
    ("scheduled_rows", "Rows in the schedule.", lambda table: table.scheduled),
    ("overdue_rows", "Rows that are due and not claimed.", lambda table: table.overdue),
    ("overdue_seconds", "Time since the first row that is not claimed fell due.", lambda table: table.overdue_s),
    ("failing_rows", "Rows whose last refresh failed.", lambda table: table.failing),
    ("last_commit_timestamp_seconds", "Unix time of the last accepted value.", lambda table: table.committed_at),
    ("paused", "1 when the table is paused, else 0.", lambda table: table.paused_at is not None),
)
"""Name, help and value of each gauge; None: absent."""


class RowCacheCollector(Collector):
    """Collector that reads Redis at each scrape; without Redis, rowcache_up is 0 and the others are absent."""

    def __init__(self, client: "redis.Redis", tables: Iterable[Table], lease_s: float) -> None:
        self._client = client
        self._tables = list(tables)
        self._lease_s = lease_s

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registration does not read Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read Redis: two round trips and two for each table."""
        up = GaugeMetricFamily("rowcache_up", "1 when Redis could be read, else 0.")
        try:
            snapshots = {table.name: read_snapshot(self._client, table) for table in self._tables}
            health = read_health(self._client, self._tables, self._lease_s)
        except redis.RedisError as error:
            logger.warning("scrape_failed: Redis could not be read: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from gauges(snapshots, health)
        yield from counters(snapshots)
        yield lateness(snapshots)


def gauges(snapshots: Mapping[str, Snapshot], health: Iterable[Health]) -> Iterator[Metric]:
    """Yield the state of each table."""
    waiting_s = {table.table: table.waiting_s for table in health}
    for name, text, value_of in GAUGES:
        family = GaugeMetricFamily(f"rowcache_{name}", text, labels=["table"])
        for table, snapshot in snapshots.items():
            value = value_of(snapshot)
            if value is not None:
                family.add_metric([table], value)
        yield family
    family = GaugeMetricFamily(
        "rowcache_waiting_seconds",
        "Time since the longest waiting row fell due, claimed or not; without failing rows and paused tables.",
        labels=["table"],
    )
    for table, seconds in waiting_s.items():
        family.add_metric([table], seconds)
    yield family


def counters(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    """Yield the outcomes; they restart at 0 when stats: is deleted."""
    for name in COUNTERS:
        family = CounterMetricFamily(f"rowcache_{name}", COUNTER_HELP[name], labels=["table"])
        for table, snapshot in snapshots.items():
            family.add_metric([table], snapshot.counters[name])
        yield family


def lateness(snapshots: Mapping[str, Snapshot]) -> Metric:
    """Return the lateness of all commits, cumulative.

    Classes have no exact sum, and the format allows _sum and _count only together: both are absent. The bucket +Inf
    has the count.
    """
    family = HistogramMetricFamily("rowcache_lateness_seconds", "Time from due to committed.", labels=["table"])
    for table, snapshot in snapshots.items():
        counts = snapshot.lateness
        buckets = [
            (str(2 ** (bound // 4) / 1000), float(sum(count for late, count in counts.items() if late <= bound)))
            for bound in BUCKET_CLASSES
        ]
        family.add_metric([table], [*buckets, ("+Inf", float(sum(counts.values())))], sum_value=None)
    return family


class MetricsServer:
    """HTTP server in a thread; port 0 takes a free one. Raises OSError."""

    def __init__(self, collector: Collector, address: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._server, self._thread = start_http_server(port, address, registry)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def wait(self) -> None:
        """Wait until the server is closed or a signal raises."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving and close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
