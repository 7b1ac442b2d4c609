"""Own row ids that are too long for a message: a foreign client may schedule any. Must not know Celery."""

from dataclasses import replace

from rowcache_tasks.keys import encode_row_id
from rowcache_tasks.schedule.arguments import MAX_ROW_ID_BYTES
from rowcache_tasks.schedule.claim import Claim, late_of, runs
from rowcache_tasks.schedule.rows import Backoff, Schedule

__all__ = ["is_too_long", "set_aside"]


def is_too_long(row_id: str) -> bool:
    """Tell whether a row id is longer than this package allows."""
    return len(row_id) > MAX_ROW_ID_BYTES // 4 and len(encode_row_id(row_id)) > MAX_ROW_ID_BYTES


def set_aside(schedule: Schedule, claim: Claim) -> Claim:
    """Record rows whose ids would make huge messages as failures, and go on with the others."""
    reasons = {
        row_id: f"row id of {len(encode_row_id(row_id)):,} bytes: allowed are {MAX_ROW_ID_BYTES:,}"
        for row_id in claim.row_ids
        if is_too_long(row_id)
    }
    schedule.release_rows(claim, reasons, Backoff())
    late_ms = {row_id: late for row_id, late in late_of(claim).items() if row_id not in reasons}
    return replace(claim, row_ids=list(late_ms), late=runs(late_ms.values()))
