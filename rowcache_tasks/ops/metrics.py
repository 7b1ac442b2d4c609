"""Prometheus exporter: metrics of all processes, read from Redis.

Needs the extra `metrics`. The labels are `table`, `queue` and `quantile`: each row id would be a series for ever.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.ops.freshness import QUANTILES, Freshness
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import find_problems
from rowcache_tasks.ops.snapshot import Snapshot
from rowcache_tasks.schedule.process import DISPATCHER, WORKER

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
    "audited": "Rows that the task audit_table compared with the database.",
    "audit_wrong": "Those of them that were wrong.",
}

STATES = ("kept", "at risk", "broken")
GAUGES: tuple[tuple[str, str, Callable[[Snapshot], float | None]], ...] = (
    ("scheduled_rows", "Rows in the schedule.", lambda table: table.scheduled),
    ("overdue_rows", "Rows that are due and not claimed.", lambda table: table.overdue),
    ("overdue_seconds", "Time since the first row that is not claimed fell due.", lambda table: table.overdue_s),
    ("failing_rows", "Rows whose last refresh failed.", lambda table: table.failing),
    ("last_commit_timestamp_seconds", "Unix time of the last accepted value.", lambda table: table.committed_at),
    (
        "failing_ratio",
        "Share of the scheduled rows whose last refresh failed, 0 to 1.",
        lambda table: table.failing_share,
    ),
    ("paused", "1 when the table is paused, else 0.", lambda table: table.paused_at is not None),
    (
        "waiting_seconds",
        "Time since the longest waiting row fell due, claimed or not; without failing rows and paused tables.",
        lambda table: table.waiting_s,
    ),
)
"""Name, help and value of each gauge; None: absent."""


class RowCacheCollector(Collector):
    """Collector that reads Redis at each scrape; without Redis, rowcache_up is 0 and the others are absent."""

    def __init__(self, client: "redis.Redis", settings: Settings, broker: BrokerState | None = None) -> None:
        self._client = client
        self._settings = settings
        self._broker = broker

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registration does not read Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read Redis in six round trips, and the broker."""
        up = GaugeMetricFamily("rowcache_up", "1 when Redis could be read, else 0.")
        try:
            found = read_overview(self._client, self._settings, self._broker)
        except redis.RedisError as error:
            logger.warning("scrape_failed: Redis could not be read: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from gauges(found.tables)
        yield from ages(found.freshness)
        yield from promises(found)
        yield from processes(found)
        yield from queues(found)
        yield from counters(found.tables)
        yield lateness(found.tables)


def gauges(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    """Yield the state of each table."""
    for name, text, value_of in GAUGES:
        values = {table: value_of(snapshot) for table, snapshot in snapshots.items()}
        yield labelled(GaugeMetricFamily, name, text, "table", values)


def ages(found: Mapping[str, Freshness]) -> Iterator[Metric]:
    """Yield the ages of the values of each table, and the rows that have none."""
    never = {table: each.never_refreshed for table, each in found.items()}
    yield labelled(GaugeMetricFamily, "never_refreshed_rows", "Scheduled rows without a refresh.", "table", never)
    text = "Age that this share of the refreshed rows does not exceed."
    family = GaugeMetricFamily("rowcache_age_seconds", text, labels=["table", "quantile"])
    for table, each in found.items():
        for name, age in each.ages.items():
            if age is not None:
                family.add_metric([table, f"{QUANTILES[name]:g}"], age)
    yield family


def promises(found: Overview) -> Iterator[Metric]:
    """Yield the promise of each table that has one and rows."""
    known = {table: promise for table in found.tables if (promise := found.promise(table)) and promise.state}
    for name, text, values in (
        (
            "achieved_ratio",
            "Share of the scheduled rows that were refreshed within max_staleness, 0 to 1.",
            {table: promise.achieved for table, promise in known.items()},
        ),
        ("target_ratio", "Share that is promised.", {table: promise.target for table, promise in known.items()}),
        (
            "state",
            "0: kept, 1: at risk, 2: broken.",
            {table: STATES.index(promise.state) for table, promise in known.items() if promise.state},
        ),
    ):
        yield labelled(GaugeMetricFamily, f"promise_{name}", text, "table", values)


def processes(found: Overview) -> Iterator[Metric]:
    """Yield the number of living processes, those that have each table, and the faults that `health` names."""
    for kind in (DISPATCHER, WORKER):
        alive = found.alive(kind)
        yield GaugeMetricFamily(f"rowcache_{kind}s", f"{kind.title()}s that are alive.", value=len(alive))
        having = {table: sum(table in process.tables for process in alive) for table in found.tables}
        yield labelled(GaugeMetricFamily, f"table_{kind}s", "Those that have the table.", "table", having)
    faults = sum(problem.level == "fail" for problem in find_problems(found))
    yield GaugeMetricFamily("rowcache_faults", "Faults that `rowcache health` names.", value=faults)


def queues(found: Overview) -> Iterator[Metric]:
    """Yield the state of the queues; absent: not known."""
    for name, text, value_of in (
        ("length", "Messages that wait.", found.length),
        ("oldest_seconds", "Age of the oldest message; absent when the queue is empty.", found.oldest_s),
        ("consumers", "Workers that consume the queue.", found.consumers),
    ):
        values = {queue: value_of(queue) for queue in found.names.queues}
        yield labelled(GaugeMetricFamily, f"queue_{name}", text, "queue", values)


def counters(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    """Yield the outcomes; they restart at 0 when stats: is deleted."""
    for name, text in COUNTER_HELP.items():
        values = {table: snapshot.counters[name] for table, snapshot in snapshots.items()}
        yield labelled(CounterMetricFamily, name, text, "table", values)


def labelled(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float | None],
) -> Metric:
    """Return a metric with a value for each value of a label; None: absent."""
    metric = family(f"rowcache_{name}", text, labels=[label])
    for each, value in values.items():
        if value is not None:
            metric.add_metric([each], value)
    return metric


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
