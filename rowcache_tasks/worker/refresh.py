"""Use case: refresh a claimed batch: fetch, encode, commit; release the rows that failed."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import redis

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import one_line, shorten
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.warning import warn_once

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

logger = logging.getLogger(__name__)

UNKNOWN_PAUSE_S = 0.25
"""Longest pause of a row that met a worker without its table: another worker may have it."""
RETRY_S = 0.5
"""Longest pause between two tries of a batch while Redis is away."""
MAX_UNKNOWN = 1000
unknown_since: dict[str, float] = {}
"""Namespace of a table that this process does not have -> time of the monotonic clock."""


def repeat_in_outage(refresh: Callable[[], dict[str, int]], claim: Claim) -> dict[str, int]:
    """Refresh the rows of a claim again while Redis is away, as in a failover; return the result.

    For one lease at most: then the rows are due again, and the error of redis-py is raised.
    """
    deadline = time.monotonic() + float(claim.lease_until) - float(claim.claimed_at)
    while True:
        try:
            return refresh()
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.5, 1) * RETRY_S)  # noqa: S311 nothing secret


def refresh_claim(schedule: Schedule, source: "Source", claim: Claim, backoff: Backoff) -> dict[str, int]:
    """Refresh the rows of a claim; return counts: refreshed, unchanged, superseded, dropped, missing, failed.

    One SELECT and one commit for the batch. Rows that are missing, unreadable or not encodable cost one call more and
    hold up no other row. A batch that cannot be read as a whole is released with a backoff of one lease at most, since
    no row is at fault; the reason is logged once a minute for each table. If the process dies before the commit, the
    rows are due again when their lease ends.
    """
    try:
        fetched = source.fetch(claim.row_ids)
        values, errors = fetched.encoder.encode_all(fetched.rows)
    except Exception as error:  # noqa: BLE001 whatever it is, the rows must not wait for their lease
        reason, name = one_line(f"{type(error).__name__}: {error}", 500), schedule.table.name
        is_foreseen = isinstance(error, RowCacheError)
        warn_once(
            logger,
            name,
            "%d rows of %s are tried again later: %s",
            len(claim.row_ids),
            name,
            reason,
            exc_info=not is_foreseen,
        )
        lease_s = float(claim.lease_until) - float(claim.claimed_at)
        outage = replace(backoff, max_s=min(backoff.max_s, max(lease_s, backoff.base_s)))
        released = schedule.release_rows(claim, dict.fromkeys(claim.row_ids, reason), outage)
        return {"failed": released, "superseded": len(claim.row_ids) - released}
    errors |= fetched.errors
    counts = asdict(schedule.commit_rows(claim, values))
    missed = schedule.miss_rows(claim, fetched.missing, backoff)
    released = schedule.release_rows(claim, errors, backoff)
    counts["dropped"] += missed.dropped
    counts["superseded"] += missed.superseded + len(errors) - released
    return counts | {"missing": missed.missing, "failed": released}


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
