"""Script calls around the load of rows, and their notes in Redis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import Keys
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.cut import cut, cut_by_bytes
from rowcache_tasks.schedule.position import ReadPosition, check_positions
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.script import Script, ScriptCall, load_script

Found = tuple[bytes | None, float | None]
"""A value (None: there is none; a BadRow: it cannot be read) and its age in seconds, None when unknown."""

ABSENT = b"-"  # note: the database has no such row
FAILED = b"!"  # note, with a reason: the database could not be read
BAD_ROW = b"?"  # note, with a reason: this row cannot be read, the database can
NOT_READ = b""  # note: nothing was read; other readers may try

FAILED_MS = 1000  # for how long other readers get the FAILED note instead of trying themselves

SCRIPT_ROWS = 50
"""Rows in one script call: 0.5 ms, with old values of 20 KB 2 ms, in which the server does nothing else.

Calls are sent one after the other: those of a pipeline that arrive together are run together, before the server serves
another client.
"""


class BadRow(bytes):
    """BAD_ROW note in place of a value. A value of another client may begin like one."""

    __slots__ = ()


@dataclass(slots=True)
class FillState:
    """The replies of begin_fill. Each row id is in exactly one of the four."""

    began_at: str = ""  # the time of the first call: anything committed since is newer
    epoch: str = "0"  # the epoch of the first call, as in Claim
    began: dict[str, tuple[str, str]] = field(default_factory=dict)  # of each part, by its server
    cached: dict[str, Found] = field(default_factory=dict)
    ours: list[str] = field(default_factory=list)  # to be loaded by the caller, who then calls end_fill
    held: list[str] = field(default_factory=list)  # being loaded by another reader
    notes: dict[str, bytes] = field(default_factory=dict)  # ABSENT, FAILED or BAD_ROW, from a moment ago


class FillScripts:
    """The scripts begin_fill and end_fill for one table."""

    def __init__(self, table: Table, options: ReadThrough, load: Callable[[str], Script] = load_script) -> None:
        self._load = load
        self._table = table
        self._ttl_ms = int((table.ttl_s or 0) * 1000)
        self._options = options

    def begin(self, row_ids: Sequence[str], token: bytes, max_age_s: float | None) -> list[ScriptCall]:
        """Mark the rows that nobody loads as the caller's; `read_begin` reads the replies.

        The mark lasts a little longer than the database may take. If the process dies, other readers go on then.
        """
        options = [int(self._options.timeout * 1500), "" if max_age_s is None else max_age_s]
        return [
            self._call("begin_fill", part, [Keys.fill_prefix, token, *options, *map(encode_row_id, some)])
            for part, some in self._pieces(row_ids)
        ]

    def read_begin(self, row_ids: Sequence[str], replies: Sequence[Sequence[Any]]) -> FillState:
        """Read the replies of begin_fill."""
        state = FillState()
        for (part, some), reply in zip(self._pieces(row_ids), replies, strict=True):
            items = [item.encode() if isinstance(item, str) else item for item in reply]  # as of decode_responses
            if not state.began_at:
                state.began_at, state.epoch = items[0].decode(), items[1].decode()
            state.began.setdefault(part.place, (items[0].decode(), items[1].decode()))
            for row_id, value, age, note in zip(some, items[2::3], items[3::3], items[4::3], strict=True):
                if value:
                    state.cached[row_id] = value, float(age) if age else None
                elif not note:
                    state.ours.append(row_id)
                elif note.startswith((ABSENT, FAILED, BAD_ROW)):
                    state.notes[row_id] = note
                else:
                    state.held.append(row_id)
        return state

    def check(self, row_ids: Sequence[str], positions: Sequence[ReadPosition]) -> list[ScriptCall]:
        """Check where rows were read, of a table with "replica"; `read_check` reads the replies."""
        read = ReadPosition.of(positions)
        return [check_positions(part, some, read) for part, some in self._pieces(row_ids)]

    def read_check(self, row_ids: Sequence[str], replies: Sequence[Sequence[int]]) -> list[str]:
        """Return the rows that were read too early to be cached."""
        checked = zip(self._pieces(row_ids), replies, strict=True)
        return [
            row_id
            for (_, some), reply in checked
            for row_id, is_reached in zip(some, reply, strict=True)
            if not is_reached
        ]

    def end(
        self, token: bytes, state: FillState, outcomes: Mapping[str, bytes], delay_s: float | None
    ) -> list[ScriptCall]:
        """Write the outcomes of the caller's rows: row id -> JSON or a note. Nothing newer is ever replaced.

        A call has up to CALL_BYTES of values.
        """
        options = self._options
        ttls = [self._ttl_ms, int(options.ttl * 1000), "" if delay_s is None else delay_s]
        ttls += [int(options.missing_ttl * 1000), FAILED_MS]
        calls = []
        for part, some in self._pieces(list(outcomes)):
            began = state.began.get(part.place) if self._table.partitions > 1 else None
            head = [Keys.fill_prefix, token, *(began or (state.began_at, state.epoch)), *ttls]
            for ids in cut_by_bytes({row_id: outcomes[row_id] for row_id in some}):
                arguments = [*head, len(ids), *map(encode_row_id, ids), *(outcomes[each] for each in ids)]
                calls.append(self._call("end_fill", part, arguments))
        return calls

    def _pieces(self, row_ids: Sequence[str]) -> list[tuple[Table, Sequence[str]]]:
        """Divide row ids among script calls, each of one part of the table."""
        return [(part, piece) for part, some in self._table.divide(row_ids) for piece in cut(some, SCRIPT_ROWS)]

    def _call(self, name: str, part: Table, arguments: Sequence[Any]) -> ScriptCall:
        return self._load(name).call(part.keys, encode_row_id(part.keys.value_prefix), *arguments)


def make_note(kind: bytes, reason: str) -> bytes:
    """Return a note with its reason."""
    return kind + reason.encode("utf-8", "replace")


def reason_of(note: bytes, kind: bytes) -> str | None:
    """Return the reason of a note of that kind, FAILED or BAD_ROW; None for anything else."""
    return note[1:].decode("utf-8", "replace") if note.startswith(kind) else None
