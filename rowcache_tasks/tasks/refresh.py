"""Task that dispatchers send: refresh a batch of rows."""

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import redis

from rowcache_tasks.celery.application import PackageTask, add_task
from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.celery.process import Runtime, current_runtime
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import MAX_TEXT, one_line, show_text
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.arguments import parse_row_ids
from rowcache_tasks.schedule.claim import Claim, from_messages
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.note import end_notes, note_skipped, start_notes
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import Command
from rowcache_tasks.schedule.servers import open_exchange
from rowcache_tasks.schedule.trace import span
from rowcache_tasks.worker.busy import note_message
from rowcache_tasks.worker.read_limit import Clock
from rowcache_tasks.worker.refresh import refresh_claims, release_unknown, repeat_in_outage
from rowcache_tasks.worker.refusal import note_refusal
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)


@add_task(REFRESH_TASK, base=PackageTask, acks_late=False, throws=(RowCacheError, redis.RedisError))
def refresh_row(
    table: str,
    row_ids: Sequence[str],
    claim: Mapping[str, Any] | None = None,
    more: Sequence[tuple[Sequence[str], Mapping[str, Any]]] = (),
) -> dict[str, Any]:
    """Refresh a batch of rows; return how many were refreshed, unchanged, superseded, dropped, missing or failed.

    Counts of 0 are left out: the others fit into a column of Flower. A batch whose lease ended a minute ago is not
    refreshed, and counted as expired. `late_ms`: time from the first due time to the commit, for a claim of a
    dispatcher. `error`: the first reason, where rows failed.

    Dispatchers pass their claim, and more claims with their row ids, as to_messages writes them. Without a claim, the
    task claims the rows itself, also those of a paused table, and leaves out rows that are not scheduled. Such a
    message is lost when the worker that has fetched it is killed; refresh_now is not.
    """
    runtime = current_runtime()
    if claim is not None:
        return refresh_sent(table, from_messages(row_ids, claim, more))
    schedule, source = runtime.schedule(table), runtime.source(table)
    counts: Counter[str] = Counter()
    reasons: list[str] = []
    for part, some in schedule.divide(parse_row_ids(row_ids)):
        for batch in cut(some, SCRIPT_BATCH):
            leased = part.lease_rows(batch, runtime.settings.lease_s)
            key = part.table.keys.notes
            with part.exchange() as exchange:
                exchange.send(start_notes([leased], key, note_facts(float(leased.claimed_at))))
                last = end_notes([leased], key)
                counts.update(refresh_claims(part, source, [leased], runtime.backoff, exchange, None, reasons, last))
    return make_result(counts, reasons)


def make_result(counts: Mapping[str, int], reasons: Sequence[str], late_s: float = math.inf) -> dict[str, Any]:
    """Return the counts above 0, the lateness, unless it is infinite, and the first reason."""
    result: dict[str, Any] = {name: count for name, count in counts.items() if count}
    if late_s < math.inf:
        result["late_ms"] = math.ceil(late_s * 1000)
    if reasons:
        result["error"] = one_line(reasons[0], MAX_TEXT)
    return result


def refresh_sent(table: str, sent: Sequence[Claim]) -> dict[str, Any]:
    """Refresh the rows of a dispatcher's claims. While Redis is away, try for one lease."""
    deadline = time.monotonic() + current_runtime().settings.lease_s
    try:
        return repeat_in_outage(partial(refresh_started, table, sent), deadline)
    except redis.ResponseError as error:
        name, reason = show_text(str(table)), one_line(str(error))
        warn_once(logger, f"refused {name}", "refused: rows of %s wait for their lease: Redis says: %s", name, reason)
        note_refusal(str(table), reason)
        raise


def refresh_started(table: str, sent: Sequence[Claim]) -> dict[str, Any]:
    """Start the batches of a message, refresh their rows, release those of an unknown table; then raise errors."""
    runtime, began_at = current_runtime(), time.monotonic()
    reasons: list[str] = []
    known = runtime.settings.tables.get(table) if isinstance(table, str) else runtime.settings.table(table)
    clock = clock_of(runtime)
    places = {part.place for part in known.parts} if known else set()
    with open_exchange(runtime.client) as exchange, span("batch", table=str(table), claims=len(sent)):
        with exchange.held():
            live = start_batches(runtime, sent, exchange)
            own = [claim for claim in live if claim.namespace in places]
            last = note_started(runtime, own, exchange, clock)
        expired = [claim for claim in sent if claim not in live]
        counts = Counter(expired=sum(len(claim.row_ids) for claim in expired))
        for claim in expired:
            keys = Keys.of(claim.namespace, runtime.settings.deployment)
            note_skipped(runtime.client, keys, claim.row_ids, clock(claim))
        if own:
            schedule, source = runtime.schedule(table), runtime.source(table)
            counts.update(refresh_claims(schedule, source, own, runtime.backoff, exchange, clock, reasons, last))
        exchange.read()
    rows = sum(len(claim.row_ids) for claim in own)
    if known is not None and 2 * counts["failed"] < rows:  # a database that is down refuses in no time
        waits_s = clock(own[0]) - float(own[0].claimed_at)
        late_s = 0.0 if known.max_rate else own[0].late_ms / 1000  # a cap makes rows late without work
        note_message(known.namespace, rows, time.monotonic() - waits_s - late_s, began_at)
    late_s = max((clock(claim) - float(claim.claimed_at) + claim.late_ms / 1000 for claim in own), default=math.inf)
    for claim in live:
        if claim not in own:
            unknown = Schedule(runtime.client, Table(table, table, claim.namespace))
            counts.update(release_unknown(unknown, claim, str(refresh_row.request.hostname)))
            reasons.append(f"the worker has no table {show_text(str(table))}")
    return make_result(counts, reasons, max(0.0, late_s))


def note_started(runtime: Runtime, own: Sequence[Claim], exchange: Exchange, clock: Clock) -> list[Command]:
    """Note who has started claims; return the commands that note their end."""
    last: list[Command] = []
    for namespace, claims in by_part(own).items():
        key = Keys.of(namespace, runtime.settings.deployment).notes
        exchange.send(start_notes(claims, key, note_facts(clock(claims[0]))))
        last += end_notes(claims, key)
    return last


def note_facts(started_at: float) -> dict[str, Any]:
    """Return the facts about the task that runs, for the notes of its claims."""
    request = refresh_row.request
    return {"worker": request.hostname, "worker_pid": os.getpid(), "task": request.id, "started_at": started_at}


def start_batches(runtime: Runtime, sent: Sequence[Claim], exchange: Exchange) -> list[Claim]:
    """Note that the batches of a message are started, each on the list of its part; return those that are alive."""
    parts = by_part(sent)
    if sum(runtime.sent_batches(namespace).begin(claims, exchange) for namespace, claims in parts.items()):
        exchange.read()
    return [claim for namespace, claims in parts.items() for claim in runtime.sent_batches(namespace).live(claims)]


def by_part(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Group claims by the part of their table."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.namespace, []).append(claim)
    return found


def clock_of(runtime: Runtime) -> Clock:
    """Return the clock of the server of each claim."""
    return lambda claim: runtime.sent_batches(claim.namespace).estimate_now()
