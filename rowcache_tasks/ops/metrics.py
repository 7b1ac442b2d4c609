"""Own what Prometheus sees: everything is read from Redis at the scrape, so one exporter serves all processes.

Needs the extra `metrics`. The only label is `table`: a row id is never one, since each would be a series for ever.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

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
"""Bounds from 1 ms to 262 s, each twice the one before. They are bounds of lateness classes (2^(class / 4) ms), so the
counts are exact."""

COUNTER_HELP: Mapping[str, str] = {
    "claimed": "Rows claimed by dispatchers.",
    "refreshed": "Refreshes that wrote a new value.",
    "unchanged": "Refreshes that found the value that was cached already.",
    "superseded": "Refreshes that were not written, since a newer one was.",
    "dropped": "Rows that were dropped from the cache.",
    "missing": "Refreshes that did not find the row in the database.",
    "failed": "Refreshes that failed.",
}


class RowCacheCollector(Collector):
    """Reads the tables at each scrape; rowcache_up is 0, and nothing else is there, when Redis cannot be read."""

    def __init__(self, client: "redis.Redis", tables: Iterable[Table], lease_s: float) -> None:
        self._client = client
        self._tables = list(tables)
        self._lease_s = lease_s

    def describe(self) -> Iterable[Metric]:
        """Promise nothing, so that a registration does not read Redis."""
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
    """Give the state of each table."""
    scheduled = GaugeMetricFamily("rowcache_scheduled_rows", "Rows in the schedule.", labels=["table"])
    overdue = GaugeMetricFamily("rowcache_overdue_rows", "Rows that are due and not claimed.", labels=["table"])
    overdue_s = GaugeMetricFamily(
        "rowcache_overdue_seconds", "For how long the first row that is not claimed has been due.", labels=["table"]
    )
    failing = GaugeMetricFamily("rowcache_failing_rows", "Rows whose last refresh failed.", labels=["table"])
    committed_at = GaugeMetricFamily(
        "rowcache_last_commit_timestamp_seconds", "When the last value was accepted; Unix time.", labels=["table"]
    )
    waiting_s = GaugeMetricFamily(
        "rowcache_waiting_seconds",
        "For how long the row that waits longest has been due, claimed or not; failing rows, paused tables left out.",
        labels=["table"],
    )
    paused = GaugeMetricFamily("rowcache_paused", "1 when the table is paused, else 0.", labels=["table"])
    for table, snapshot in snapshots.items():
        paused.add_metric([table], snapshot.paused_at is not None)
        scheduled.add_metric([table], snapshot.scheduled)
        overdue.add_metric([table], snapshot.overdue)
        overdue_s.add_metric([table], snapshot.overdue_s)
        failing.add_metric([table], snapshot.failing)
        if snapshot.committed_at is not None:
            committed_at.add_metric([table], snapshot.committed_at)
    for one in health:
        waiting_s.add_metric([one.table], one.waiting_s)
    yield from (scheduled, overdue, overdue_s, failing, committed_at, waiting_s, paused)


def counters(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    """Give the outcomes; they start at 0 when stats: is deleted, as counters may."""
    for name in COUNTERS:
        family = CounterMetricFamily(f"rowcache_{name}", COUNTER_HELP[name], labels=["table"])
        for table, snapshot in snapshots.items():
            family.add_metric([table], snapshot.counters[name])
        yield family


def lateness(snapshots: Mapping[str, Snapshot]) -> Metric:
    """Give the lateness of all commits, cumulative.

    Without _sum and _count: only classes are counted, so the sum is not known, and the format allows neither alone.
    The count is the bucket +Inf.
    """
    family = HistogramMetricFamily(
        "rowcache_lateness_seconds", "How long after its due time a row was committed.", labels=["table"]
    )
    for table, snapshot in snapshots.items():
        counts = snapshot.lateness
        buckets = [
            (str(2 ** (bound // 4) / 1000), float(sum(count for late, count in counts.items() if late <= bound)))
            for bound in BUCKET_CLASSES
        ]
        family.add_metric([table], [*buckets, ("+Inf", float(sum(counts.values())))], sum_value=None)
    return family


class MetricsServer:
    """Serves the metrics over HTTP from a thread until it is closed; port 0 takes a free one.

    Raises OSError when it cannot listen there.
    """

    def __init__(self, collector: Collector, address: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._server, self._thread = start_http_server(port, address, registry)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_port}/metrics"
        """Where the metrics are."""

    def wait(self) -> None:
        """Wait until the server is closed, or a signal raises something."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving and give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
