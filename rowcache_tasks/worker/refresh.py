"""Use case: refresh a claimed batch: fetch, encode, commit; release the rows that failed."""

import logging
from dataclasses import asdict, replace

from rowcache_tasks.database.source import Source
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import Backoff, Schedule

logger = logging.getLogger(__name__)


def refresh_claim(schedule: Schedule, source: Source, claim: Claim, backoff: Backoff) -> dict[str, int]:
    """Refresh the rows of a claim; return counts: refreshed, unchanged, superseded, dropped, missing, failed.

    One SELECT and one commit for the batch. Rows that are missing, unreadable or not encodable cost one call more and
    hold up no other row. A batch that cannot be read as a whole is released with a backoff of one lease at most, since
    no row is at fault, and the error is raised. If the process dies before the commit, the rows are due again when
    their lease ends.
    """
    try:
        fetched = source.fetch(claim.row_ids)
        values, errors = source.encoder.encode_all(fetched.rows)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:500]
        logger.warning("%d rows of %s are tried again later: %s", len(claim.row_ids), schedule.table.name, reason)
        lease_s = float(claim.lease_until) - float(claim.claimed_at)
        outage = replace(backoff, max_s=min(backoff.max_s, max(lease_s, backoff.base_s)))
        schedule.release_rows(claim, dict.fromkeys(claim.row_ids, reason), outage)
        raise
    errors |= fetched.errors
    counts = asdict(schedule.commit_rows(claim, values))
    missed = schedule.miss_rows(claim, fetched.missing, backoff)
    released = schedule.release_rows(claim, errors, backoff)
    counts["dropped"] += missed.dropped
    counts["superseded"] += missed.superseded + len(errors) - released
    return counts | {"missing": missed.missing, "failed": released}
