"""Prometheus exporter: metrics of all processes, read from Redis."""

import logging
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import celery
import redis
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from rowcache_tasks import __version__
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.ops.doctor.redis_server import examine_servers, nodes_of
from rowcache_tasks.ops.finding import Finding
from rowcache_tasks.ops.freshness import QUANTILES
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import find_problems
from rowcache_tasks.ops.snapshot import COUNTERS, Snapshot
from rowcache_tasks.schedule.process import DISPATCHER, WORKER

logger = logging.getLogger(__name__)

BUCKET_CLASSES = range(0, 73, 4)
"""Bounds from 1 ms to 262 s, by factors of two. They are bounds of lateness classes (2^(class / 4) ms), so exact."""

STATES = ("kept", "at risk", "broken")
GAUGES = {
    "scheduled_rows": ("tables", "scheduled", "Rows in the schedule."),
    "overdue_rows": ("tables", "overdue", "Rows that are due and not claimed."),
    "overdue_seconds": ("tables", "overdue_s", "Time since the first row that is not claimed fell due."),
    "failing_rows": ("tables", "failing", "Rows whose last refresh failed."),
    "last_commit_timestamp_seconds": ("tables", "committed_at", "Unix time of the last accepted value."),
    "waiting_seconds": (
        "tables",
        "waiting_s",
        "Time since the longest waiting row fell due, claimed or not; without failing rows and paused tables.",
    ),
    "never_refreshed_rows": ("freshness", "never_refreshed", "Scheduled rows without a refresh."),
    "demand_refreshes_per_second": ("loads", "demand", "Refreshes a second that the delays of the rows ask for."),
    "capacity_refreshes_per_second": (
        "loads",
        "capacity",
        "Refreshes a second that the workers can do, beside those of other tables; absent: not measured.",
    ),
    "promise_achieved_ratio": (
        "promises",
        "achieved",
        "Share of the scheduled rows that were refreshed within max_staleness, 0 to 1.",
    ),
    "promise_target_ratio": ("promises", "target", "Share that is promised."),
    "promise_max_staleness_seconds": ("promises", "max_staleness", "Age that is promised not to be exceeded."),
}
"""Name -> field of Overview, field of each table in it, help."""

Values = Mapping[str, float | None]
Gauges = Iterator[tuple[str, str, str, Values]]
"""Name, help, label, and value of the label -> value; None: absent. Without a label, the value of "" is the metric."""


class RowCacheCollector(Collector):
    """Collector that reads Redis at each scrape; without Redis, rowcache_up is 0, and only settings are there."""

    def __init__(self, client: "redis.Redis", settings: Settings, broker: BrokerState | None = None) -> None:
        self._client = client
        self._settings = settings
        self._broker = broker

    def describe(self) -> Iterable[Metric]:
        """Return each metric without values, so that registration does not read Redis."""
        nothing = replace(self._settings, tables={})
        return [*infos(nothing), *measured(Overview(0.0, {}, [], nothing), [])]

    def collect(self) -> Iterator[Metric]:
        """Read Redis in 13 round trips, and the broker."""
        yield from infos(self._settings)
        try:
            found = read_overview(self._client, self._settings, self._broker)
            servers = [*examine_servers(self._settings, self._client, nodes_of(self._settings, self._client))]
        except redis.RedisError as error:
            logger.warning("scrape_failed: Redis could not be read: %s", error)
            yield labelled(GaugeMetricFamily, *UP, {"": 0})
            return
        yield from measured(found, servers)


def measured(found: Overview, server: Sequence[Finding]) -> Iterator[Metric]:
    """Yield all that is read from Redis and the broker; of a table whose server does not answer, nothing."""
    known: dict[str, Any] = {
        place: {name: each for name, each in getattr(found, place).items() if found.tables[name].is_known}
        for place in ("tables", "freshness", "loads")
    }
    found = replace(found, **known)
    yield labelled(GaugeMetricFamily, *UP, {"": 1})
    states = (state_of_tables(found), processes(found), queues(found), faults([*find_problems(found)], server))
    for gauge in chain.from_iterable(states):
        yield labelled(GaugeMetricFamily, *gauge)
    yield ages(found)
    for name, text in COUNTERS.items():
        values = {table: snapshot.counters[name] for table, snapshot in found.tables.items()}
        yield labelled(CounterMetricFamily, name, text, "table", values)
    yield lateness(found.tables)


UP = ("up", "1 when Redis could be read, else 0.", "")


def infos(settings: Settings) -> Iterator[Metric]:
    """Yield the versions of the exporter, and the settings that expressions need no number of."""
    versions = {"version": __version__, "python": platform.python_version(), "celery": celery.__version__}
    yield InfoMetricFamily("rowcache_build", "Versions of this exporter.", versions)
    chosen = {
        "deployment": settings.deployment,
        "batch_size": str(settings.batch_size),
        "poll_interval": f"{settings.poll_interval_s:g}",
        "max_backoff": f"{settings.max_backoff_s:g}",
    }
    yield InfoMetricFamily("rowcache_settings", "Settings of this exporter, in seconds where they are times.", chosen)
    yield labelled(GaugeMetricFamily, "lease_seconds", "rowcache_lease.", "", {"": settings.lease_s})
    limit = {settings.names.refresh_queue: settings.max_queue}
    yield labelled(GaugeMetricFamily, "queue_limit", "rowcache_max_queue: dispatchers pause there.", "queue", limit)


def state_of_tables(found: Overview) -> Gauges:
    """Yield the state of each table; of its promise the target always, the rest while rows are scheduled."""
    for name, (place, field, text) in GAUGES.items():
        yield name, text, "table", {table: getattr(each, field) for table, each in getattr(found, place).items()}
    tables = found.tables.items()
    text = "Share of the scheduled rows whose last refresh failed, 0 to 1."
    yield "failing_ratio", text, "table", {name: now.failing_share if now.scheduled else None for name, now in tables}
    text = "1 when the table is paused, else 0."
    yield "paused", text, "table", {name: now.paused_at is not None for name, now in tables}
    text = "Duration of a slow read in the last five minutes; absent when none was slow."
    yield "slow_read_seconds", text, "table", {name: now.slow_s or None for name, now in tables}
    text = "How far the replica of the database that rows are read from is behind; absent: no replica, or unknown."
    lags = {name: None if now.replica_lag_s == math.inf else now.replica_lag_s for name, now in tables}
    yield "replica_lag_seconds", text, "table", lags
    promises = found.promises.items()
    states = {name: None if each.state is None else STATES.index(each.state) for name, each in promises}
    yield "promise_state", "0: kept, 1: at risk, 2: broken.", "table", states


def processes(found: Overview) -> Gauges:
    """Yield the number of living processes, those that have each table, and those that hang; absent: not known."""
    is_known = found.knows_processes
    for kind in (DISPATCHER, WORKER):
        alive = found.alive(kind)
        yield f"{kind}s", f"{kind.title()}s that are alive.", "", {"": len(alive) if is_known else None}
        having = {table: sum(table in process.tables for process in alive) for table in found.tables if is_known}
        yield f"table_{kind}s", "Those that have the table.", "table", having
    silent = sum(process.is_silent for process in found.processes) + len(found.frozen)
    yield (
        "silent_processes",
        "Dispatchers and workers that hang or were killed.",
        "",
        {"": silent if is_known else None},
    )
    running = [process.running_s for process in found.alive(WORKER) if process.running_s is not None]
    text = "Time for which the longest batch runs; absent when none runs."
    yield "running_batch_seconds", text, "", {"": max(running, default=None)}


def queues(found: Overview) -> Gauges:
    """Yield the state of the broker and its queues; absent: not known."""
    answers = None if found.queues is None and not found.broker_error else found.queues is not None
    yield "broker_up", "1 when the broker answers, else 0; absent: not asked.", "", {"": answers}
    for name, text, value_of in (
        ("length", "Messages that wait.", found.length),
        ("oldest_seconds", "Age of the oldest message; absent when the queue is empty.", found.oldest_s),
        ("consumers", "Workers that consume the queue.", found.consumers),
    ):
        yield f"queue_{name}", text, "queue", {queue: value_of(queue) for queue in found.names.queues}


def faults(deployment: Sequence[Finding], server: Sequence[Finding]) -> Gauges:
    """Yield how many faults and warnings `rowcache health`, and the check of Redis by `rowcache doctor`, have."""
    for prefix, command, findings in (("", "health", deployment), ("redis_", "doctor", server)):
        for name, level in (("faults", "fail"), ("warnings", "warn")):
            text = f"{name.title()} that `rowcache {command}` names{' of the server' if prefix else ''}."
            yield f"{prefix}{name}", text, "", {"": sum(finding.level == level for finding in findings)}


def ages(found: Overview) -> Metric:
    """Return the ages of the values of each table; a summary of quantiles alone."""
    text = "Age that this share of the refreshed rows does not exceed."
    family = SummaryMetricFamily("rowcache_age_seconds", text, labels=["table"])
    for table, each in found.freshness.items():
        for name, age in each.ages.items():
            if age is not None:
                family.add_sample(family.name, {"table": table, "quantile": f"{QUANTILES[name]:g}"}, age)
    return family


def labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, text: str, label: str, values: Values
) -> Metric:
    """Return a metric with a value for each value of a label; None: absent."""
    metric = kind(f"rowcache_{name}", text, labels=[label] if label else [])
    for each, value in values.items():
        if value is not None:
            metric.add_metric([each] if label else [], value)
    return metric


def lateness(snapshots: Mapping[str, Snapshot]) -> Metric:
    """Return the lateness of all commits, cumulative; without _sum and _count where the sum was not counted."""
    family = HistogramMetricFamily("rowcache_lateness_seconds", "Time from due to committed.", labels=["table"])
    for table, snapshot in snapshots.items():
        counts = snapshot.lateness
        buckets = [
            (str(2 ** (bound // 4) / 1000), float(sum(count for late, count in counts.items() if late <= bound)))
            for bound in BUCKET_CLASSES
        ]
        sum_s = snapshot.late_s if counts else 0.0
        family.add_metric([table], [*buckets, ("+Inf", float(sum(counts.values())))], sum_value=sum_s)
    return family
