"""Time by which rows are to be committed, so that their age is true."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.node import NodeAwayError

Clock = Callable[[Claim], float]  # estimates the time of the server of a claim, Unix seconds: never before that time

YOUNG_SHARE = 0.1
"""Share of the bound: the time of a younger claim stands for the beginning of its read, and no reply is waited for."""
GROWTH = 2  # a read may take so many times as long as the last one, if that was slow
MAX_SLOW = 100_000
REFUSED_FOR_S = 300
LAST = ""  # in place of a row id: the last read of the table
slow_s: dict[str, dict[str, float]] = {}
"""Namespace of a table -> rows whose last read by this process took longer than the bound -> seconds."""


read_s: dict[str, float] = {}
"""Namespace of a table -> time that the last read of this process took, until a reply of Redis was read as well."""


@dataclass(slots=True)
class ReadStart:
    """A time before a SELECT, by two clocks."""

    at: float  # by the clock of Redis; Unix seconds
    monotonic: float  # the same time or an earlier one by the monotonic clock
    asked: list[Any] | None = None  # for the reply to TIME, until that is read; None: it was, or was not asked for


def learn_refusal(exchange: Exchange, table: Table) -> None:
    """Before the first read of a table by this process, note by how much the last commit of any process came too late.

    Of a table with partitions, that of one part.

    Processes that are replaced after each batch would else refuse every read of a table that is always slow.
    """
    if table.namespace in slow_s:
        return
    replies: list[Any] = exchange.send([("TIME",), ("HMGET", table.keys.state, "refused_at", "refused_ms")])
    exchange.read()
    slow_s[table.namespace] = {}
    with suppress(TypeError, ValueError):  # no refusal, or an error of Redis
        (seconds, _), (refused_at, late_ms) = replies
        if abs(int(seconds) - float(refused_at)) <= REFUSED_FOR_S:
            slow_s[table.namespace][LAST] = table.age_error_s + float(late_ms) / 1000


def start_read(exchange: Exchange, table: Table, claims: Sequence[Claim], clock: Clock | None, key: str) -> ReadStart:
    """Return a time before a SELECT that begins after this call. Asks Redis unless the claims were just made.

    The reply is read after the SELECT, by `settle_starts`, unless the last SELECT was so slow that this would tell too
    little. `key` names the server, which is that of all claims. Raises the error of Redis.
    """
    claimed_at, now = min(float(claim.claimed_at) for claim in claims), time.monotonic()
    young_s = YOUNG_SHARE * table.age_error_s
    if clock is not None and 0 <= (age_s := clock(claims[0]) - claimed_at) <= young_s:
        return ReadStart(claimed_at, now - age_s)
    start = ReadStart(claimed_at, now, exchange.send([("TIME",)], key))
    if read_s.get(table.namespace, math.inf) > young_s:
        exchange.read()
        if not start.asked:
            raise NodeAwayError(f"the server of {key} is away")
        start.at, start.asked = time_in(start.asked), None
    return start


def settle_starts(exchange: Exchange, table: Table, starts: Sequence[ReadStart]) -> bool:
    """Read, after a SELECT of a table, the times that Redis was asked for before it. Raises the error of Redis.

    A reply may have been made at any time until now, so the SELECT may have begun earlier than it says, by the time
    since the question at most. Return False when that is over a third of the bound, which leaves too little for the
    commit: the read is to be made again, and begins with the question. A reply is still empty where the server is away.
    """
    is_asked = any(start.asked is not None for start in starts)
    if is_asked:
        exchange.read()
    now = time.monotonic()
    read_s[table.namespace] = took_s = now - starts[0].monotonic
    if is_asked and 3 * took_s > table.age_error_s:
        return False
    for start in starts:
        if start.asked:
            start.at, start.asked = max(start.at, time_in(start.asked) - (now - start.monotonic)), None
    return True


def time_in(replies: list[Any]) -> float:
    """Return the time in the reply to TIME; Unix seconds. Raises the error of Redis."""
    if isinstance(replies[0], Exception):
        raise replies[0]
    seconds, microseconds = replies[0]
    return int(seconds) + int(microseconds) / 1e6


def end_read(namespace: str, row_ids: Sequence[str], start: ReadStart, bound_s: float) -> tuple[float, int]:
    """Return the time of Redis after which the rows are not committed, and how slow the read was.

    In Unix seconds, and in milliseconds: 0 within the bound. Two reads of a row one after the other that take longer
    are a slow SELECT: the second is accepted, since the third would take as long. One alone is that of a process that
    was stopped.
    """
    slow, took_s = slow_s.setdefault(namespace, {}), time.monotonic() - start.monotonic
    known_s = max([slow.get(LAST, 0.0), *(slow.get(row_id, 0.0) for row_id in row_ids)]) if slow else 0.0
    if took_s > bound_s:
        if len(slow) > MAX_SLOW:
            slow.clear()
        slow |= dict.fromkeys([LAST, *row_ids], took_s)
    elif slow:
        for row_id in (LAST, *row_ids):
            slow.pop(row_id, None)
    return start.at + max(bound_s, GROWTH * known_s), int(took_s * 1000) if took_s > bound_s else 0
