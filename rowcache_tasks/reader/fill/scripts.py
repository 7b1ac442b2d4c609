"""Own the filling of rows in Redis: the two scripts around the reading of the database, and the notes they leave.

For redis-py's clients, those of asyncio too: whoever calls awaits what these functions return. Must not know SQL.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import FILL_PREFIX, encode_row_id
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.schedule.script import Script, load_script

__all__ = ["ABSENT", "NOT_READ", "Begun", "Fill", "bad_row", "failure", "reason_of"]

ABSENT = b"-"
"""The database has no such row."""
FAILED = b"!"
"""And a reason: the database could not be read."""
BAD_ROW = b"?"
"""And a reason: this row cannot be read, the database can."""
NOT_READ = b""
"""Nothing was read; let others try."""

FAILED_MS = 1000
"""How long others are told that the database could not be read, instead of trying themselves."""


def failure(reason: str) -> bytes:
    """Note that the database could not be read."""
    return FAILED + reason.encode("utf-8", "replace")


def bad_row(reason: str) -> bytes:
    """Note that this row could not be read."""
    return BAD_ROW + reason.encode("utf-8", "replace")


def reason_of(note: bytes, kind: bytes) -> str | None:
    """Read the reason of a note of that kind, FAILED or BAD_ROW; None for anything else."""
    return note[1:].decode("utf-8", "replace") if note.startswith(kind) else None


@dataclass(slots=True)
class Begun:
    """What begin_fill found. Each row id is in exactly one of the four."""

    began_at: str
    cached: dict[str, tuple[bytes, float | None]]
    """Row id -> value and age in seconds, None when unknown."""
    ours: list[str]
    """To be read by the caller, who then calls end_fill."""
    held: list[str]
    """Somebody else is reading these."""
    notes: dict[str, bytes]
    """ABSENT, FAILED or BAD_ROW from a moment ago."""

    def add(self, later: "Begun") -> None:
        """Add what was found of other rows by a later call. What is older than the first call counts as old."""
        self.began_at = self.began_at or later.began_at
        self.cached |= later.cached
        self.ours += later.ours
        self.held += later.held
        self.notes |= later.notes


class Fill:
    """The scripts for one table; atomic for the rows of one call. Who has many rows makes several calls."""

    def __init__(self, table: Table, options: ReadThrough, load: Callable[[str], Script] = load_script) -> None:
        self._load = load
        self._keys = table.keys
        self._prefix = encode_row_id(table.keys.value_prefix)
        self._ttl_ms = int((table.ttl_s or 0) * 1000)
        self.options = options

    def begin(self, client: Any, row_ids: Sequence[str], token: bytes, max_age_s: float | None) -> Any:
        """Ask who reads these rows; `parse_begun` reads the reply. If the process then dies, others go on soon.

        What nobody reads is the caller's for a little longer than the database may take.
        """
        hold_ms = int(self.options.timeout * 1500)
        age = "" if max_age_s is None else max_age_s
        arguments = [self._prefix, FILL_PREFIX, token, hold_ms, age, *map(encode_row_id, row_ids)]
        return self._run(client, "begin_fill", arguments)

    @staticmethod
    def parse_begun(row_ids: Sequence[str], reply: Sequence[Any]) -> Begun:
        """Read the reply of begin_fill."""
        found = [part.encode() if isinstance(part, str) else part for part in reply]  # as of decode_responses
        begun = Begun(found[0].decode(), {}, [], [], {})
        for row_id, value, age, note in zip(row_ids, found[1::3], found[2::3], found[3::3], strict=True):
            if value:
                begun.cached[row_id] = value, float(age) if age else None
            elif not note:
                begun.ours.append(row_id)
            elif note.startswith((ABSENT, FAILED, BAD_ROW)):
                begun.notes[row_id] = note
            else:
                begun.held.append(row_id)
        return begun

    def end(
        self, client: Any, token: bytes, began_at: str, outcomes: Mapping[str, bytes], delay_s: float | None
    ) -> Any:
        """Write what was read of rows that are ours: row id -> JSON or a note. Nothing newer is ever replaced."""
        options = self.options
        arguments = [
            *(self._prefix, FILL_PREFIX, token, began_at, self._ttl_ms, int(options.ttl * 1000)),
            *("" if delay_s is None else delay_s, int(options.missing_ttl * 1000), FAILED_MS, len(outcomes)),
            *map(encode_row_id, outcomes),
            *outcomes.values(),
        ]
        return self._run(client, "end_fill", arguments)

    def _run(self, client: Any, name: str, arguments: Sequence[Any]) -> Any:
        script = self._load(name)
        run = script.run_awaited if isinstance(client, redis.asyncio.Redis) else script.run
        return run(client, [getattr(self._keys, key) for key in script.keys], arguments)
