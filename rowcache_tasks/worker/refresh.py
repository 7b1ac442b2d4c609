"""Use case: refresh claimed rows: fetch, encode, commit; release those that failed."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import redis

from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.claim import Claim, Committed, Missed, Released, sum_of
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import Command
from rowcache_tasks.schedule.trace import span
from rowcache_tasks.worker.part import group_claims, part_of, row_ids_of, settled
from rowcache_tasks.worker.read_limit import Clock, ReadStart, end_read, learn_refusal
from rowcache_tasks.worker.read_rows import mean_bytes, read_group
from rowcache_tasks.worker.refusal import SentCalls, release_refused
from rowcache_tasks.worker.replica import leave_early, note_lag
from rowcache_tasks.worker.warning import warn_once

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

logger = logging.getLogger(__name__)

UNKNOWN_PAUSE_S = 0.25  # longest pause of a row that met a worker without its table: another worker may have it
RETRY_S = 0.5  # longest pause between two tries of a batch while Redis is away
READ_BYTES = 8 * 1024 * 1024  # bytes of JSON of the rows of one SELECT, by the mean size of the rows read before
GUESSED_BYTES = 4096.0
commit_s: dict[str, float] = {}
"""Namespace of a table -> time from the last commit to its reply; half of it is the way of the next one."""
MAX_UNKNOWN = 1000
unknown_since: dict[str, float] = {}
"""Namespace of a table that this process does not have -> time of the monotonic clock."""


def repeat_in_outage(refresh: Callable[[], dict[str, Any]], deadline: float) -> dict[str, Any]:
    """Refresh the rows of a claim again while Redis is away, as in a failover; return the result.

    Raises the error of redis-py after the deadline, a time of the monotonic clock.
    """
    while True:
        try:
            return refresh()
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.5, 1) * RETRY_S)  # noqa: S311 nothing secret


def refresh_claim(schedule: Schedule, source: "Source", claim: Claim, backoff: Backoff) -> dict[str, int]:
    """Refresh the rows of one claim, as refresh_claims."""
    with schedule.exchange() as exchange:
        return refresh_claims(schedule, source, [claim], backoff, exchange)


def refresh_claims(
    schedule: Schedule,
    source: "Source",
    claims: Sequence[Claim],
    backoff: Backoff,
    exchange: Exchange,
    clock: Clock | None = None,
    reasons: list[str] | None = None,
    last: Sequence[Command] = (),
) -> dict[str, int]:
    """Refresh the rows of claims; return counts: refreshed, unchanged, superseded, dropped, missing, failed.

    One SELECT for READ_BYTES of rows; the outcome of each is sent before the next SELECT, and all replies are read at
    the end. Rows that are missing, unreadable or not encodable hold up no other row. If the process dies before it has
    sent the outcome of a row, the row is due again when its lease ends. Without a `clock`, Redis is asked for the time.
    The reason of each row that failed is appended to `reasons`. `last`: commands after the last outcome.
    """
    committed: list[SentCalls] = []
    missed: list[SentCalls] = []
    released: list[list[Any]] = []
    reads: list[tuple[list[str], ReadStart]] = []
    failed, early, bound_s = 0, 0, schedule.table.age_error_s
    learn_refusal(exchange, part_of(schedule, claims[0]).table)
    row_bytes = mean_bytes.get(schedule.table.namespace, GUESSED_BYTES)
    for some in group_claims(claims, max(1, int(READ_BYTES / row_bytes))):
        began, group, starts, rows = read_group(schedule, source, some, backoff, exchange, clock)
        is_whole = len(group) == len(some) == 1 and not rows.positions
        if rows.positions:
            read, group = len(row_ids_of(group)), leave_early(schedule, group, rows.errors, rows.positions, exchange)
            early += read - len(row_ids_of(group))
        if not group:
            continue
        start, row_ids = starts[0], row_ids_of(group)
        commit_by, slow_ms = end_read(schedule.table.namespace, row_ids, start, bound_s)
        reads.append((row_ids, start))
        sent = time.monotonic()
        read_ms = int((sent - began + commit_s.get(schedule.table.namespace, 0.0) / 2) * 1000)
        with exchange.held():
            for each, own in zip(group, starts, strict=True):
                part = part_of(schedule, each)
                claim = replace(each, commit_by=commit_by + own.at - start.at, read_ms=read_ms, slow_ms=slow_ms)
                values, missing, errors = rows.of(claim, is_whole=is_whole)
                commits, misses = part.commit_calls(claim, values), part.miss_calls(claim, missing, backoff)
                committed.append(SentCalls(part, claim, values, exchange.send([call.command for call in commits])))
                missed.append(SentCalls(part, claim, missing, exchange.send([call.command for call in misses])))
                calls = part.release_calls(claim, errors, rows.backoff)
                released.append(exchange.send([call.command for call in calls]))
                failed += len(errors)
                if reasons is not None:
                    reasons += errors.values()
    note_lag(schedule, source, claims, exchange)
    with span("commit", table=schedule.table.name):
        with exchange.held():
            for command in last:
                exchange.send([command])
        exchange.read()
    if reads:
        commit_s[schedule.table.namespace] = time.monotonic() - sent
    refused, returned = release_refused([*committed, *missed], backoff, exchange, reasons)
    counts = asdict(sum_of(Committed, settled(each.replies for each in committed)))
    absent, back = sum_of(Missed, settled(each.replies for each in missed)), sum_of(Released, settled(released))
    # It may be the commit that is slow. The time of earlier reads includes those after them.
    for row_ids, start in reads if counts["superseded"] + absent.superseded else reads[-1:]:
        end_read(schedule.table.namespace, row_ids, start, bound_s)
    counts["superseded"] += absent.superseded + failed + refused - back.released - returned + early
    return counts | {
        "dropped": counts["dropped"] + absent.dropped,
        "missing": absent.missing,
        "failed": back.released + returned,
    }


def release_unknown(schedule: Schedule, claim: Claim, hostname: str) -> dict[str, int]:
    """Release the rows of a table that this worker does not have; return the count as `unknown`.

    A worker that has the table gets most of them within a second, as in a rolling deployment. The pause grows with the
    time for which the table has been unknown: when no worker has it, its rows must not fill the queue.
    """
    name = shorten(schedule.table.name)
    reason = (
        f"worker {hostname} has no table {name} on these keys: restart it with the settings of the dispatcher, "
        "or give each deployment on this broker a name (rowcache_deployment)"
    )
    if len(unknown_since) > MAX_UNKNOWN:
        unknown_since.clear()
    unknown_s = time.monotonic() - unknown_since.setdefault(schedule.table.namespace, time.monotonic())
    warn_once(logger, f"unknown {name}", "unknown_table: %s", reason)
    pause = Backoff(base_s=0.05, max_s=min(60.0, max(UNKNOWN_PAUSE_S, unknown_s / 100)))
    return {"unknown": schedule.release_rows(claim, dict.fromkeys(claim.row_ids, reason), pause)}
