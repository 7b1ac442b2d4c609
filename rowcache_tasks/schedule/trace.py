"""Spans of OpenTelemetry from a schedule change, or the due time of rows, to their commit.

Off, and nothing of OpenTelemetry is imported, until RowCacheInstrumentor turns them on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import chain
from typing import Any

import msgspec
import redis

from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.rows import Schedule

MAX_CHANGES = 20  # rows of a batch whose last schedule change is looked up
OFF = nullcontext()
_tracer: Any = None


def turn_on(tracer: Any) -> None:
    """Make spans with a tracer; None: make none."""
    global _tracer  # noqa: PLW0603 one for the process, as OpenTelemetry has
    _tracer = tracer


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """Return a context manager that is a span below the current one."""
    if _tracer is None:
        return OFF
    named: AbstractContextManager[Any] = _tracer.start_as_current_span(
        f"rowcache.{name}", attributes=prefix(attributes)
    )
    return named


def current_headers() -> dict[str, str]:
    """Return the current span as headers (traceparent); empty while spans are off."""
    headers: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.propagate import inject  # noqa: PLC0415 an extra

        inject(headers)
    return headers


def sending(schedule: Schedule, claims: Sequence[Claim], asked_at: float) -> AbstractContextManager[Any]:
    """Return the span in which claims are sent, the first of them of this part. It begins when a row fell due.

    It is below the span of the schedule change that made a row due, and linked to those of other changes.
    `asked_at`: when the claim began, on the monotonic clock.
    """
    if _tracer is None:
        return OFF
    from opentelemetry import trace  # noqa: PLC0415 an extra
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.propagate import extract  # noqa: PLC0415

    now = time.time_ns()
    claimed_from = now - int((time.monotonic() - asked_at) * 1e9)
    late_ms = max(claim.late_ms for claim in claims)
    found = find_changes(schedule, claims[0].row_ids[:MAX_CHANGES])
    changes = [extract(headers, Context()) for headers in found]
    table = schedule.table.name
    rows = sum(len(claim.row_ids) for claim in claims)
    due = _tracer.start_span(
        "rowcache.due",
        context=changes[0] if changes else Context(),
        links=[trace.Link(trace.get_current_span(change).get_span_context()) for change in changes[1:]],
        start_time=claimed_from - late_ms * 1_000_000,
        attributes=prefix({"table": table, "rows": rows, "late_ms": late_ms}),
    )
    with trace.use_span(due):
        _tracer.start_span("rowcache.claim", start_time=claimed_from, attributes=prefix({"table": table})).end(now)
    sent: AbstractContextManager[Any] = trace.use_span(due, end_on_exit=True)
    return sent


def find_changes(schedule: Schedule, row_ids: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Yield the headers of the schedule changes since which rows were not refreshed; the newest first."""
    keys, members = schedule.table.keys, [encode_row_id(row_id) for row_id in row_ids]
    with suppress(redis.RedisError, ValueError, TypeError), schedule.exchange() as exchange:
        scores = exchange.send([("ZMSCORE", key, *members) for key in (keys.changed, keys.refreshed)])
        exchange.read()
        times = [(float(at), float(read or "-inf")) for at, read in zip(*scores, strict=True) if at is not None]
        stamps = sorted({at for at, read in times if read < at}, reverse=True)
        noted = exchange.send([("ZRANGE", keys.notes, repr(at), repr(at), "BYSCORE") for at in stamps])
        exchange.read()
        for note in chain.from_iterable(noted):
            facts = msgspec.json.decode(note.partition(b" ")[2], type=dict[str, Any])
            if isinstance(facts.get("traceparent"), str):
                yield {"traceparent": facts["traceparent"]}


def prefix(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with the name of the package before theirs."""
    return {f"rowcache.{name}": value for name, value in attributes.items()}
