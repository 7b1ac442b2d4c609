"""Commits that Redis refuses: their rows are released with its reason, the others stand."""

import logging
import mmap
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from rowcache_tasks.errors.text import one_line
from rowcache_tasks.schedule.claim import Claim, Released, sum_of
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut, cut_by_bytes
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.node import is_moving
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)

NOTED_S = 60.0  # a refusal counts for so long
NOTE = struct.Struct("dI400s")
_noted = mmap.mmap(-1, NOTE.size)
"""Time of the monotonic clock, hash of the table and text of the last refusal, for all processes of a pool."""


@dataclass(frozen=True, slots=True)
class SentCalls:
    """Calls with the outcomes of rows of a claim, and their replies."""

    part: Schedule
    claim: Claim
    rows: Mapping[str, bytes] | Sequence[str]  # values to commit, or row ids
    replies: list[Any]

    def cut(self) -> Iterator[list[str]]:
        """Return the row ids of each call."""
        return cut_by_bytes(self.rows) if isinstance(self.rows, Mapping) else cut(self.rows, SCRIPT_BATCH)


def release_refused(
    sent: Sequence[SentCalls], backoff: Backoff, exchange: Exchange, reasons: list[str] | None
) -> tuple[int, int]:
    """Release the rows of calls that Redis refused, with its reason, and remove those replies.

    Return how many rows were refused, and how many of them were released. Raises the error of Redis when it refuses
    that, too.
    """
    refused, reason = 0, ""
    released: list[list[Any]] = []
    for calls in sent:
        if not any(map(is_refusal, calls.replies)):
            continue
        for row_ids, reply in zip(calls.cut(), calls.replies, strict=True):
            if is_refusal(reply):
                reason = f"Redis refuses the commit: {one_line(str(reply), 300)}"
                again = calls.part.release_calls(calls.claim, dict.fromkeys(row_ids, reason), backoff)
                released.append(exchange.send([call.command for call in again]))
                refused += len(row_ids)
        calls.replies[:] = [reply for reply in calls.replies if not is_refusal(reply)]
    name = sent[0].part.table.name if sent else ""
    if not refused:
        if any(calls.replies for calls in sent):
            forget_refusal(name)
        return 0, 0
    exchange.read()
    back = sum_of(Released, (reply for replies in released for reply in replies if not is_moving(reply))).released
    warn_once(logger, f"refused {name}", "refused: %d rows of %s are tried again later: %s", refused, name, reason)
    if reasons is not None:
        reasons.append(reason)
    if back < refused:  # a script that fails half-way may have ended the lease: no record has the reason
        note_refusal(name, reason)
    return refused, back


def is_refusal(reply: Any) -> bool:
    """Whether a reply is an error of the server itself, such as a missing right, or a value that is too large."""
    return isinstance(reply, redis.ResponseError) and not is_moving(reply)


def note_refusal(table: str, reason: str) -> None:
    """Note why Redis refuses this worker the rows of a table, for the note of the worker."""
    NOTE.pack_into(
        _noted,
        0,
        time.monotonic(),
        zlib.crc32(table.encode("utf-8", "replace")),
        reason.encode("utf-8", "replace")[:400],
    )


def forget_refusal(table: str) -> None:
    """Forget the refusal of rows of a table, since Redis takes them."""
    at, noted, _ = NOTE.unpack_from(_noted)
    if at and noted == zlib.crc32(table.encode("utf-8", "replace")):
        NOTE.pack_into(_noted, 0, 0.0, 0, b"")


def read_refusal() -> str:
    """Return why Redis has refused this worker lately; "": it has not."""
    at, _, reason = NOTE.unpack_from(_noted)
    is_new = at and time.monotonic() - at < NOTED_S
    return reason.rstrip(b"\0").decode("utf-8", "replace") if is_new else ""
