"""Moves rows of a table that grows from the parts where they were to its new ones.

A script spans one place only, so a row is copied, and then removed where it was if nothing has changed there since:

    look at the new place ──▶ give (closes the old one) ──▶ take ──▶ leave ──▶ what has changed meanwhile again

The old place is closed before the first row leaves it: nothing is claimed there, and nothing that is in flight there
is committed. A value at the new place is therefore newer than any that was there. If the process dies at any point, a
row is at the old place, at the new one or at both, and the same call does the rest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.cut import CALL_BYTES, SCRIPT_BATCH, cut
from rowcache_tasks.schedule.layout import read_layout
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id
from rowcache_tasks.schedule.script import Script, load_script
from rowcache_tasks.schedule.servers import run_each

T = TypeVar("T")

TRIES = 20  # rounds in which rows that change all the time are tried again
TAKE_S = 5.0  # after so long since the look at the new place, a row is not taken but looked at again


class UnsettledError(redis.ConnectionError):
    """Rows changed again and again while they were moved. They are where they were; try again."""


class Seen(NamedTuple):
    """A row at its new place before the move. Times are those of its server; None: not there."""

    delay: float | None
    stamp: float | None
    at: float


class Given(NamedTuple):
    """A row as its old place has given it; empty: not there."""

    due: bytes
    delay: bytes
    stamp: bytes
    start_in: bytes
    age: bytes
    failure: bytes
    value: bytes
    ttl_ms: int

    @property
    def is_there(self) -> bool:
        """Whether the place has anything of the row."""
        return any((self.due, self.delay, self.stamp, self.age, self.failure, self.value))


class Growth:
    """Places of the rows of a table that grows. Needs a client without decode_responses."""

    def __init__(self, client: "redis.Redis", table: Table, load: Callable[[str], Script] = load_script) -> None:
        self.table, self.old, self.new = table, table.old, replace(table, growing_from=0)
        self._client, self._load = client, load

    def is_moving(self) -> bool:
        """Whether rows are moved, or have been: the new places are those of changes."""
        return read_layout(self._client.get(self.table.layout)).get("partitions") == self.table.partitions

    def apply(self, row_ids: Iterable[str], change: Callable[[Table], T]) -> T:
        """Make a change of rows where they are: at their old places, or at the new ones after they were moved there.

        `change` is called with the table that has the places; twice, when the move begins meanwhile.
        """
        if not self.is_moving():
            outcome = change(self.old)
            if not self.is_moving():
                return outcome
        self.move(row_ids)
        return change(self.new)

    def first_rows(self, part: Table) -> list[str]:
        """Return some row ids of a part that is left, the first due before others; empty: it has none."""
        for key in (part.keys.schedule, part.keys.delay, part.keys.changed):
            found: Any = self._client.zrange(key, 0, SCRIPT_BATCH - 1)
            if found:
                return [decode_row_id(member) for member in found]
        return []

    def count_left(self) -> int:
        """Count the scheduled rows at their old places."""
        return sum(int(self._client.zcard(part.keys.schedule)) for part in self.old.parts)

    def move(self, row_ids: Iterable[str]) -> int:
        """Move rows that are at their old places, and what is noted of dropped ones; return how many were scheduled.

        Afterwards the old places were without them at some moment since the call. Raises UnsettledError.
        """
        moved = 0
        for some in cut(dict.fromkeys(row_ids), SCRIPT_BATCH):
            left, tries = some, 0
            while left:
                if tries == TRIES:
                    raise UnsettledError(f"{len(left)} rows of {self.table.name} change all the time: try again")
                before = len(left)
                left, found = self._move_once(left)
                moved, tries = moved + found, 0 if len(left) < before else tries + 1
        return moved

    def _move_once(self, row_ids: Sequence[str]) -> tuple[list[str], int]:
        """Move rows; return those that are left, and the number of scheduled ones that were moved."""
        seen = self.look(row_ids)
        given = self.give(row_ids)
        present = {row_id: facts for row_id, facts in given.items() if facts.is_there}
        taken = self.take(seen, present)
        gone = {*self.leave({row_id: present[row_id] for row_id in taken})}
        left = [row_id for row_id in row_ids if row_id not in given or (row_id in present and row_id not in gone)]
        return left, sum(present[row_id].due != b"" for row_id in gone)

    def look(self, row_ids: Sequence[str]) -> dict[str, Seen]:
        """Return rows as they are at their new places."""
        divided = self.table.divide(row_ids)
        pipeline: Any = self._client.pipeline(transaction=False)
        for part, some in divided:
            members = [encode_row_id(row_id) for row_id in some]
            pipeline.zmscore(part.keys.delay, members)
            pipeline.zmscore(part.keys.changed, members)
            pipeline.time()
        seen: dict[str, Seen] = {}
        for (_, some), (delays, stamps, (seconds, microseconds)) in zip(
            divided, cut(pipeline.execute(), 3), strict=True
        ):
            at = int(seconds) + int(microseconds) / 1e6
            seen |= {row_id: Seen(delays[n], stamps[n], at) for n, row_id in enumerate(some)}
        return seen

    def give(self, row_ids: Sequence[str]) -> dict[str, Given]:
        """Close the old places of rows, and return what is there: of big values, only of the first rows."""
        divided = self.old.divide(row_ids)
        replies = self._run("give_moved", [(part, [CALL_BYTES, *map(encode_row_id, some)]) for part, some in divided])
        given: dict[str, Given] = {}
        for (part, some), (dropped_at, *facts) in zip(divided, replies, strict=True):
            if dropped_at:
                self._note_drop(part, dropped_at)
            given |= {
                row_id: Given(*found) for row_id, found in zip(some, cut(facts, len(Given._fields)), strict=False)
            }
        return given

    def _note_drop(self, part: Table, dropped_at: bytes) -> None:
        """Note the last drop of the table at the new places of a part, as it is noted at the old one."""
        first, step = self.old.parts.index(part), self.old.partitions
        for other in self.table.parts[first : self.table.partitions : step]:
            noted: Any = self._client.hget(other.keys.state, "dropped_at")
            if noted is None or float(noted) < float(dropped_at):
                self._load("drop_table").call(other.keys, dropped_at, 0).run(self._client)

    def take(self, seen: Mapping[str, Seen], given: Mapping[str, Given]) -> list[str]:
        """Write rows at their new places; return those that had not changed there since they were seen."""
        calls: list[tuple[Table, list[str], str, list[Any]]] = []
        for part, some in self.table.divide(given):
            facts = [(text_of(seen[row_id].delay), text_of(seen[row_id].stamp), *given[row_id][1:]) for row_id in some]
            calls.append((part, some, text_of(seen[some[0]].at + TAKE_S), facts))
        return self._accepted("take_moved", calls)

    def leave(self, given: Mapping[str, Given]) -> list[str]:
        """Remove rows from their old places; return those that had not changed there since they were given."""
        divided = self.old.divide(given) if given else []
        calls = [(part, some, Keys.fill_prefix, [given[row_id][:3] for row_id in some]) for part, some in divided]
        return self._accepted("leave_moved", calls)

    def _accepted(self, name: str, calls: "Sequence[tuple[Table, list[str], str, list[Any]]]") -> list[str]:
        """Call a script with rows and their facts, column after column; return the rows that it has accepted."""
        divided = [
            (part, [head, len(some), *map(encode_row_id, some), *chain(*zip(*facts, strict=True))])
            for part, some, head, facts in calls
        ]
        accepted = chain(*self._run(name, divided))
        order = chain.from_iterable(some for _, some, _, _ in calls)
        return [row_id for row_id, is_accepted in zip(order, accepted, strict=True) if is_accepted]

    def _run(self, name: str, calls: Sequence[tuple[Table, list[Any]]]) -> list[Any]:
        """Call a script for each part. Raises the first error."""
        script = self._load(name)
        found = [script.call(part.keys, encode_row_id(part.keys.value_prefix), *rest) for part, rest in calls]
        return run_each(self._client, found, self.table.replicas)


def text_of(number: float | None) -> str:
    """Write a number for a script, to the last bit; empty: there is none."""
    return "" if number is None else repr(number)
