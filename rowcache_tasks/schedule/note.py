"""Notes of claims and schedule changes, and outcomes of rows: for `rowcache explain` only.

`notes:` has the note of a claim at the end of its lease, and that of a schedule change at its stamp: the due time and
the last change of a row lead to them. Nothing else reads these keys; without them everything happens as it does.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.row_state import RowState
from rowcache_tasks.schedule.script import Command

MAX_NOTES = 1000  # notes of a table; the oldest are removed
MAX_ASKED = 1000
ASKED_S = 3600  # all outcomes of a row that was asked for are kept from then on, for so long
SHOWN = 5  # outcomes of a row

Facts = Mapping[str, Any]


class ClaimNote(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, by its dispatcher and by the worker that has started it."""

    at: float  # Unix seconds by the clock of Redis
    dispatcher: str | None = None  # node name; None: claimed by the worker itself
    pid: int | None = None  # process of the dispatcher
    task: str | None = None
    worker: str | None = None  # node name; None: no worker has started it
    worker_pid: int | None = None
    started_at: float | None = None


class ChangeNote(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule change."""

    at: float  # when it was enqueued; Unix seconds by the clock of Redis
    change: str  # name of the task or command
    task: str | None = None
    sender: str | None = None  # process that has sent the task, as Celery names it: gen<pid>@<host>
    worker: str | None = None

    def describe(self) -> str:
        """Return the change as a phrase for people."""
        name = self.change.rpartition(".")[2]
        details = [f"task {self.task}" if self.task else "", f"sent by {self.sender}" if self.sender else ""]
        return f"{name} ({', '.join(filter(None, details))})"


class Outcome(msgspec.Struct, frozen=True):
    """What became of a row, by a script."""

    at: float  # Unix seconds by the clock of Redis
    outcome: str
    reason: str  # "": an outcome without one


class Notes(msgspec.Struct, frozen=True):
    """What is noted of one row."""

    claim: ClaimNote | None = None
    change: ChangeNote | None = None
    outcomes: Sequence[Outcome] = ()  # the newest first

    @property
    def last(self) -> Outcome | None:
        """The newest outcome."""
        return self.outcomes[0] if self.outcomes else None


NO_NOTES = Notes()

N = TypeVar("N", ClaimNote, ChangeNote)


def write_note(claimed_at: str, facts: Facts) -> str:
    """Return the note of a claim, which has no other's text."""
    return f"{claimed_at} {msgspec.json.encode(facts).decode()}"


def start_notes(claims: Sequence[Claim], key: str, facts: Facts) -> list[Command]:
    """Return the commands that note who has started claims of a table."""
    notes = [part for claim in claims for part in (claim.lease_until, write_note(claim.claimed_at, facts))]
    return [("ZADD", key, *notes), ("ZREMRANGEBYRANK", key, 0, -MAX_NOTES - 1)]


def end_notes(claims: Sequence[Claim], key: str) -> list[Command]:
    """Return the commands that remove the notes of claims."""
    return [("ZREMRANGEBYSCORE", key, claim.lease_until, claim.lease_until) for claim in claims]


def note_change(client: "redis.Redis", table: Table, stamp: str, facts: Facts) -> None:
    """Note a schedule change, once for all parts of the table. Raises nothing of Redis's."""
    key, pipeline = Keys.of(table.namespace, table.deployment).notes, client.pipeline(transaction=False)
    pipeline.zadd(key, {write_note(stamp, facts): stamp})
    pipeline.zremrangebyrank(key, 0, -MAX_NOTES - 1)
    with suppress(redis.RedisError):
        pipeline.execute()


def ask_outcomes(client: "redis.Redis", part: Table, row_id: str) -> None:
    """Keep the outcomes of a row of a part for ASKED_S. Raises nothing of Redis's: not every login may."""
    keys = part.keys
    with suppress(redis.RedisError):
        asked: Any = client.scard(keys.asked)
        if asked < MAX_ASKED:
            pipeline = client.pipeline(transaction=False)
            pipeline.sadd(keys.asked, encode_row_id(row_id))
            pipeline.expire(keys.asked, ASKED_S)
            pipeline.execute()


def note_skipped(client: "redis.Redis", keys: Keys, row_ids: Sequence[str], at: float) -> None:
    """Note that rows of a batch were not refreshed, as it came too late: those that were asked for."""
    members = [*map(encode_row_id, row_ids)]
    with suppress(redis.RedisError):
        asked: Any = client.smismember(keys.asked, members)
        entries = [
            b"%.6f skipped its-batch-came-too-late %b" % (at, row)
            for row, is_asked in zip(members, asked, strict=True)
            if is_asked
        ]
        if entries:
            client.lpush(keys.outcomes, *entries)
            client.ltrim(keys.outcomes, 0, MAX_NOTES - 1)


def read_notes(client: "redis.Redis", table: Table, part: Table, row: RowState) -> Notes:
    """Read the notes of a row of a part by its due time and its last change. Keys of another type are empty."""
    pipeline = client.pipeline(transaction=False)
    for keys, time in ((part.keys, row.due), (Keys.of(table.namespace, table.deployment), row.changed)):
        score = "(inf" if time is None else repr(time)
        pipeline.zrange(keys.notes, score, score, byscore=True)
    pipeline.lrange(part.keys.outcomes, 0, -1)
    claims, changes, outcomes = (
        reply if isinstance(reply, list) else [] for reply in pipeline.execute(raise_on_error=False)
    )
    member = encode_row_id(row.row_id)
    found = [parts for entry in outcomes if len(parts := entry.split(b" ", 3)) == 4 and parts[3] == member]
    return Notes(merge(claims, ClaimNote), merge(changes, ChangeNote), [*map(read_outcome, found[:SHOWN])])


def merge(notes: Sequence[bytes], kind: type[N]) -> N | None:
    """Return the facts of the notes with one time; None without any, or of another program's text."""
    facts: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):
        for note in notes:
            at, _, text = note.partition(b" ")
            facts |= msgspec.json.decode(text, type=dict[str, Any]) | {"at": float(at)}
    with suppress(msgspec.ValidationError):
        return msgspec.convert(facts, kind)
    return None


def read_outcome(parts: Sequence[bytes]) -> Outcome:
    """Read an entry of `outcomes:`."""
    at, outcome, reason, _ = (part.decode("utf-8", "replace") for part in parts)
    with suppress(ValueError):
        return Outcome(float(at), outcome, reason.strip("-").replace("-", " "))
    return Outcome(0.0, outcome, "")
