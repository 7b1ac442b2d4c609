"""Rows of claims as the database has them now, read with one SELECT."""

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import redis

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import one_line, show_text
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.position import ReadPosition
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.trace import span
from rowcache_tasks.worker.part import row_ids_of, start_reads, without_lost
from rowcache_tasks.worker.read_limit import Clock, ReadStart, settle_starts
from rowcache_tasks.worker.warning import warn_once

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

logger = logging.getLogger(__name__)

mean_bytes: dict[str, float] = {}  # namespace of a table -> mean size of the JSON of its rows read last
FULL_SHARE = 0.02
"""Share of the rows of a table with versions that are read in full whatever their version, so that mistakes heal."""
MAX_HEAD = 160  # bytes of a value that are compared with a version. A row with a longer version is read in full.


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


class ReadGroup(NamedTuple):
    """Claims whose rows were read, without those whose server is away."""

    began: float  # of the monotonic clock
    claims: list[Claim]
    starts: list[ReadStart]  # of each claim
    rows: ReadRows


def read_group(
    schedule: Schedule,
    source: "Source",
    claims: Sequence[Claim],
    backoff: Backoff,
    exchange: Exchange,
    clock: Clock | None,
) -> ReadGroup:
    """Read the rows of claims, a second time when the first does not tell well enough when it began."""
    while True:
        group, starts = start_reads(schedule, claims, exchange, clock)
        began = time.monotonic()
        if not group:
            return ReadGroup(began, [], [], ReadRows({}, [], {}, backoff))
        with span("select", table=schedule.table.name):
            rows = read_rows(schedule, source, group, backoff, exchange)
        if settle_starts(exchange, schedule.table, starts):
            return ReadGroup(began, *without_lost(schedule, group, starts), rows)


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
