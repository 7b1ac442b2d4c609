"""Own the tasks that applications and dispatchers send. Thin: each checks its arguments and calls one operation.

Applications call `.delay(…)`; arguments are checked both there and in the worker, so that a mistake shows where it is
made. A schedule change carries the time at which it was enqueued, by the clock of Redis: in whatever order workers run
several changes of a row, the last one enqueued is what stands.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from inspect import signature
from typing import Any

import redis
from celery import Task
from celery.exceptions import Reject

from rowcache_tasks.argument import parse_claim, parse_delay, parse_delays, parse_row_id, parse_row_ids, parse_stamp
from rowcache_tasks.celery import REFRESH_QUEUE, SCHEDULE_QUEUE, app
from rowcache_tasks.config import MAX_BATCH_SIZE
from rowcache_tasks.errors import ArgumentError, RowCacheError, SourceError
from rowcache_tasks.refresh import refresh_claim
from rowcache_tasks.runtime import current_runtime
from rowcache_tasks.schedule import Claim, Schedule, cut
from rowcache_tasks.seeding import seed_table

__all__ = [
    "refresh_now",
    "refresh_row",
    "schedule_row",
    "schedule_rows",
    "schedule_table",
    "unschedule_row",
    "unschedule_rows",
]

PROGRESS_INTERVAL_S = 0.5

LASTING_ERRORS = ("WRONGTYPE", "attempt to")
"""A key that another client made of another type, or a mistake in a script."""

RETRY_PAUSE_S = 1.0
"""Between two tries of a change that Redis cannot take; the process has nothing better to do meanwhile."""

logger = logging.getLogger(__name__)


class ScheduleChange(Task):  # type: ignore[type-arg]
    """A task that changes the schedule: checked and stamped when enqueued, kept when Redis is away or a worker dies.

    It may run twice, which does no harm: the second time carries the same stamp.
    """

    abstract = True
    queue = SCHEDULE_QUEUE
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True
    throws = (RowCacheError,)
    parse: Callable[..., Any]
    """Turns the task's arguments into what it works on, or raises ArgumentError."""

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Check the arguments, add the time, send. Raises ArgumentError; redis.RedisError when Redis is away."""
        args, kwargs = args or (), dict(kwargs or {})
        stamp = parse_stamp(kwargs.pop("stamp", ""))
        try:
            signature(self.run).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.run.__name__}: {error}") from error
        self.parse(*args, **kwargs)
        return super().apply_async(args, {**kwargs, "stamp": stamp or now_stamp()}, *rest, **options)


def parse_one(table: str, row_id: object) -> list[str]:
    """Read the arguments (table, row id)."""
    current_runtime().settings.table(table)
    return [parse_row_id(row_id)]


def parse_many(table: str, row_ids: object) -> list[str]:
    """Read the arguments (table, row ids)."""
    current_runtime().settings.table(table)
    return parse_row_ids(row_ids)


def parse_row(table: str, row_id: object, delay: object) -> dict[str, float]:
    """Read the arguments (table, row id, delay)."""
    current_runtime().settings.table(table)
    return {parse_row_id(row_id): parse_delay(delay)}


def parse_rows(table: str, delays: object) -> dict[str, float]:
    """Read the arguments (table, {row id: delay})."""
    current_runtime().settings.table(table)
    return parse_delays(delays)


def parse_table(table: str, delay: object) -> float:
    """Read the arguments (table, delay)."""
    current_runtime().settings.table(table)
    return parse_delay(delay)


@app.task(base=ScheduleChange, parse=staticmethod(parse_row))
def schedule_row(table: str, row_id: str, delay: float, *, stamp: str = "") -> dict[str, int]:
    """Cache a row from now on, refreshed every `delay` seconds; returns {"applied": n, "ignored": n}."""
    return put_delays(table, parse_row(table, row_id, delay), stamp)


@app.task(base=ScheduleChange, parse=staticmethod(parse_rows))
def schedule_rows(table: str, delays: Mapping[str, float], *, stamp: str = "") -> dict[str, int]:
    """Cache rows from now on: row id -> seconds between refreshes; returns {"applied": n, "ignored": n}."""
    return put_delays(table, parse_rows(table, delays), stamp)


@app.task(base=ScheduleChange, parse=staticmethod(parse_one))
def unschedule_row(table: str, row_id: str, *, stamp: str = "") -> dict[str, int]:
    """Stop caching a row and remove its value at once; returns {"applied": n, "ignored": n}."""
    return drop(table, parse_one(table, row_id), stamp)


@app.task(base=ScheduleChange, parse=staticmethod(parse_many))
def unschedule_rows(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Stop caching rows and remove their values at once; returns {"applied": n, "ignored": n}."""
    return drop(table, parse_many(table, row_ids), stamp)


@app.task(base=ScheduleChange, parse=staticmethod(parse_many))
def refresh_now(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Refresh scheduled rows at once, as after a change; returns {"touched": n, "unscheduled": n}."""
    wanted = parse_many(table, row_ids)
    with changing(table) as schedule:
        touched = schedule.touch_rows(wanted)
    return {"touched": touched, "unscheduled": len(wanted) - touched}


@app.task(base=ScheduleChange, bind=True, parse=staticmethod(parse_table))
def schedule_table(self: ScheduleChange, table: str, delay: float, *, stamp: str = "") -> dict[str, int]:
    """Cache every row of the table, the first refreshes spread over one delay; returns {"applied": n, "ignored": n}.

    Shows its progress as the state PROGRESS with the number of rows scheduled so far, at most twice a second.
    """
    delay, stamp = parse_table(table, delay), parse_stamp(stamp)
    source = current_runtime().source(table)
    shown_at = 0.0
    try:
        total = f"{source.count_rows():,}"
    except SourceError:
        total = "many"  # A count may take longer than a statement is allowed to; the keys are streamed all the same.

    def report(count: int) -> None:
        nonlocal shown_at
        if self.request.id and time.monotonic() - shown_at >= PROGRESS_INTERVAL_S:
            shown_at = time.monotonic()
            self.send_event("task-progress", result=f"{count:,} of {total} rows scheduled")

    with changing(table) as schedule:
        return asdict(seed_table(schedule, source, delay, stamp, report))


@app.task(queue=REFRESH_QUEUE, ignore_result=True, throws=(RowCacheError, redis.ConnectionError, redis.TimeoutError))
def refresh_row(table: str, row_ids: Sequence[str], claim: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Refresh a batch of rows; returns how many were refreshed, unchanged, superseded, dropped, missing or failed.

    Counts of 0 are left out, so that the rest fits into a column of Flower.

    Dispatchers pass their claim: {"claimed_at": time, "lease_until": time, "late_ms": [milliseconds, …]}. Called by
    hand without one, it claims the rows itself; rows that are not scheduled are then left out.
    """
    runtime = current_runtime()
    runtime.settings.table(table)
    schedule, source = runtime.schedule(table), runtime.source(table)
    if claim is not None:
        claims = [Claim(**parse_claim(row_ids, claim))]
        runtime.backlog.start(claims[0])
    else:
        batches = cut(parse_row_ids(row_ids), MAX_BATCH_SIZE)
        claims = [schedule.lease_rows(batch, runtime.settings.lease_s) for batch in batches]
    counts: Counter[str] = Counter()
    for one in claims:
        counts.update(refresh_claim(schedule, source, one, runtime.backoff))
    return {name: count for name, count in counts.items() if count}


def put_delays(table: str, delays: Mapping[str, float], stamp: str) -> dict[str, int]:
    """Schedule rows, due now."""
    with changing(table) as schedule:
        return asdict(schedule.put_rows({row_id: (delay, 0) for row_id, delay in delays.items()}, parse_stamp(stamp)))


def drop(table: str, row_ids: Sequence[str], stamp: str) -> dict[str, int]:
    """Unschedule rows."""
    with changing(table) as schedule:
        return asdict(schedule.drop_rows(row_ids, parse_stamp(stamp)))


@contextmanager
def changing(table: str) -> Iterator[Schedule]:
    """Give the schedule of a table; when Redis cannot take the change now, put the task back into its queue.

    Away, full, a replica after a failover: all of that passes. Only what no waiting mends fails the task.
    """
    try:
        yield current_runtime().schedule(table)
    except redis.RedisError as error:
        if any(words in str(error) for words in LASTING_ERRORS):
            raise
        logger.warning("schedule change waits: %s", error)
        current_runtime().client.connection_pool.disconnect()
        time.sleep(RETRY_PAUSE_S)
        raise Reject(str(error), requeue=True) from None


def now_stamp() -> str:
    """Read the clock of Redis: the same for every application, whatever its own clock says."""
    runtime = current_runtime()
    return runtime.stamps.stamp(runtime.client.time())
