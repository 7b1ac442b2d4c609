"""Use case: refresh claimed rows: fetch, encode, commit; release those that failed."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import redis

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import one_line, shorten, show_text
from rowcache_tasks.schedule.claim import Claim, Committed, Missed, Released, sum_of
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.position import ReadPosition
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import Command
from rowcache_tasks.schedule.trace import span
from rowcache_tasks.worker.part import group_claims, part_of, row_ids_of, settle_reads, settled, start_reads
from rowcache_tasks.worker.read_limit import Clock, ReadStart, end_read, learn_refusal
from rowcache_tasks.worker.refusal import SentCalls, release_refused
from rowcache_tasks.worker.replica import leave_early, note_lag
from rowcache_tasks.worker.warning import warn_once

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

logger = logging.getLogger(__name__)

UNKNOWN_PAUSE_S = 0.25  # longest pause of a row that met a worker without its table: another worker may have it
RETRY_S = 0.5  # longest pause between two tries of a batch while Redis is away
READ_BYTES = 8 * 1024 * 1024  # bytes of JSON of the rows of one SELECT, by the mean size of the rows read before
mean_bytes: dict[str, float] = {}  # namespace of a table -> mean size of the JSON of its rows read last
GUESSED_BYTES = 4096.0
commit_s: dict[str, float] = {}
"""Namespace of a table -> time from the last commit to its reply; half of it is the way of the next one."""
FULL_SHARE = 0.02
"""Share of the rows of a table with versions that are read in full whatever their version, so that mistakes heal."""
MAX_HEAD = 160  # bytes of a value that are compared with a version. A row with a longer version is read in full.
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
        group, starts = start_reads(schedule, some, exchange, clock)
        if not group:
            continue
        began = time.monotonic()
        with span("select", table=schedule.table.name):
            rows = read_rows(schedule, source, group, backoff, exchange)
        if rows.positions:
            read, group = len(row_ids_of(group)), leave_early(schedule, group, rows.errors, rows.positions, exchange)
            early += read - len(row_ids_of(group))
        is_whole = len(group) == 1 and not rows.positions
        group, starts = settle_reads(schedule, group, starts, exchange)
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


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Rows as they were read. Each row id is in exactly one of the three."""

    values: Mapping[str, bytes]
    missing: Sequence[str]
    errors: Mapping[str, str]
    backoff: Backoff  # of the rows in `errors`
    positions: Sequence[ReadPosition] = ()  # where they were read, of a table with "replica"

    def of(self, claim: Claim, *, is_whole: bool) -> tuple[Mapping[str, bytes], Sequence[str], Mapping[str, str]]:
        """Return the part of one claim."""
        if is_whole:
            return self.values, self.missing, self.errors
        ids, absent = claim.row_ids, set(self.missing)
        values = {row_id: self.values[row_id] for row_id in ids if row_id in self.values}
        errors = {row_id: self.errors[row_id] for row_id in ids if row_id in self.errors}
        return values, [row_id for row_id in ids if row_id in absent], errors


def read_rows(
    schedule: Schedule, source: "Source", claims: Sequence[Claim], backoff: Backoff, exchange: Exchange
) -> ReadRows:
    """Read and encode the rows of claims with one SELECT; of a table with versions, after one of the versions.

    When the rows cannot be read as a whole, no row is at fault: each is retried after one lease at most, and the reason
    is logged once a minute for each table.
    """
    row_ids = row_ids_of(claims)
    positions: list[ReadPosition] = []
    try:
        unchanged = find_unchanged(schedule, source, row_ids, backoff.lease_s, exchange, positions)
        fetched = source.fetch([each for each in row_ids if each not in unchanged] if unchanged else row_ids, positions)
        values, errors = fetched.encoder.encode_all(fetched.rows)
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 whatever it is, the rows must not wait for their lease
        reason, name = one_line(f"{type(error).__name__}: {error}", 500), schedule.table.name
        text = "%d rows of %s are tried again later: %s"
        is_foreseen = isinstance(error, RowCacheError)
        warn_once(logger, name, text, len(row_ids), name, reason, exc_info=not is_foreseen)
        outage = replace(backoff, max_s=min(backoff.max_s, max(backoff.lease_s, backoff.base_s)))
        return ReadRows({}, [], dict.fromkeys(row_ids, reason), outage)
    if failed := errors | fetched.errors:
        row_id, reason = next(iter(failed.items()))
        text = "rows_failed: %d of %d rows of %s, among them %s: %s"
        name = schedule.table.name
        warn_once(logger, f"rows {name}", text, len(failed), len(row_ids), name, show_text(row_id), one_line(reason))
    if values:
        mean_bytes[schedule.table.namespace] = max(1.0, sum(map(len, values.values())) / len(values))
    return ReadRows(values | unchanged, fetched.missing, failed, backoff, positions)


def find_unchanged(
    schedule: Schedule,
    source: "Source",
    row_ids: Sequence[str],
    lease_s: float,
    exchange: Exchange,
    positions: list[ReadPosition],
) -> dict[str, bytes]:
    """Return the rows whose cached value has the version that the database has: row id -> beginning of the value.

    Both are read after the claim. The commit compares again: it is refused if the value is another one by then.
    """
    shape = source.shape() if schedule.table.version else ""
    if not shape:
        return {}
    asked = [row_id for row_id in row_ids if random.random() >= FULL_SHARE]  # noqa: S311 nothing secret
    facts = (shape, lease_s, MAX_HEAD)
    looks = [
        (some, exchange.send([call.command for call in schedule.parts[part.place].look_calls(some, *facts)]))
        for part, some in schedule.table.divide(asked)
    ]
    versions = source.fetch_versions(asked, positions)
    exchange.read()
    found: dict[str, bytes] = {}
    for some, replies in looks:
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        cached = zip(some, chain(*replies), strict=bool(replies))
        found |= {
            row_id: versions[row_id] for row_id, head in cached if head and head.startswith(versions.get(row_id, b","))
        }
    return found


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
