"""Task that dispatchers send: refresh a batch of rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from rowcache_tasks.celery.application import PackageTask, add_task
from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.celery.process import current_runtime
from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.schedule.arguments import parse_row_ids
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import SCRIPT_BATCH, Schedule, cut
from rowcache_tasks.worker.refresh import refresh_claim, release_unknown, repeat_in_outage


@add_task(
    REFRESH_TASK,
    base=PackageTask,
    acks_late=False,
    throws=(RowCacheError, redis.ConnectionError, redis.TimeoutError),
)
def refresh_row(table: str, row_ids: Sequence[str], claim: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Refresh a batch of rows; return how many were refreshed, unchanged, superseded, dropped, missing or failed.

    Counts of 0 are left out: the others fit into a column of Flower. A batch whose lease ended a minute ago is not
    refreshed, and counted as expired.

    Dispatchers pass their claim, as Claim.to_message writes it. Without a claim, the task claims the rows itself, also
    those of a paused table, and leaves out rows that are not scheduled. Such a message is lost when the worker that has
    fetched it is killed; refresh_now is not.
    """
    runtime = current_runtime()
    if claim is not None:
        sent = Claim.from_message(row_ids, claim)
        return repeat_in_outage(lambda: refresh_sent(table, sent), sent)
    schedule, source = runtime.schedule(table), runtime.source(table)
    counts: Counter[str] = Counter()
    for batch in cut(parse_row_ids(row_ids), SCRIPT_BATCH):
        leased = schedule.lease_rows(batch, runtime.settings.lease_s)
        counts.update(refresh_claim(schedule, source, leased, runtime.backoff))
    return {name: count for name, count in counts.items() if count}


def refresh_sent(table: str, sent: Claim) -> dict[str, int]:
    """Refresh the rows of a dispatcher's claim; return the counts above 0."""
    runtime = current_runtime()
    if not SentBatches(runtime.client, runtime.settings.names.queue).start(sent):
        return {"expired": len(sent.row_ids)}
    known = runtime.settings.tables.get(table) if isinstance(table, str) else runtime.settings.table(table)
    if known is None or known.namespace != sent.namespace:
        unknown = Schedule(runtime.client, Table(table, table, sent.namespace))
        return release_unknown(unknown, sent, str(refresh_row.request.hostname))
    counts = refresh_claim(runtime.schedule(table), runtime.source(table), sent, runtime.backoff)
    return {name: count for name, count in counts.items() if count}
