"""Comparison of cached values with the database. Read only.

The keys of some rows are read, then the rows with one SELECT, then the keys again. A row whose keys have changed
meanwhile is looked at again: the SELECT of every other row is later than that of its value. So a value that differs is
older, and its age is that of the first reading.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id
from rowcache_tasks.schedule.row_state import NOT_FOUND, RowState, read_row_states
from rowcache_tasks.schedule.servers import node_of
from rowcache_tasks.schedule.table import TableState

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

Kind = Literal[
    "equal", "older_within_interval", "older_than_promised", "missing", "should_not_be_there", "unreadable", "changing"
]
WRONG: tuple[Kind, ...] = ("older_than_promised", "missing", "should_not_be_there", "unreadable")
BATCH = 100  # rows that are compared at a time: so many values are in memory
LOOKS = 5  # times that a row is looked at which changes meanwhile
SPECIAL = re.compile(rb"([*?\[\]\\^])")  # characters with a meaning in a pattern of Redis


@dataclass(frozen=True, slots=True)
class Compared:
    """A row that was compared."""

    kind: Kind
    row: RowState  # the row before the SELECT
    in_database: bool | None  # None: it cannot be read
    error: str = ""  # reason why the row cannot be read, or has no JSON form, or why its value cannot


@dataclass(slots=True)
class Judge:
    """Rules for one table."""

    table: Table
    lease_s: float
    grace_s: float = 1.0  # seconds that a refresh may be late
    values: dict[str, bytes] = field(default_factory=dict)  # row id -> JSON as it would be cached now
    errors: dict[str, str] = field(default_factory=dict)

    def compare(self, before: RowState, after: RowState) -> Compared | None:
        """Compare a row; None: it has changed meanwhile."""
        value, error = self.values.get(before.row_id), self.errors.get(before.row_id, "")
        in_database = None if error else value is not None
        if before.is_wanted and after.is_wanted and value is not None and value in {before.value, after.value}:
            return Compared("equal", before, in_database)
        if facts_of(before) != facts_of(after):
            return None
        is_equal = not error and value == before.value
        if not is_equal and before.value is not None and not is_json_object(before.value):
            return Compared("should_not_be_there", before, in_database, "its value is not a JSON object")
        kind = (
            self.kind_of_wanted(before, is_equal, value, error)
            if before.is_wanted
            else kind_of_unwanted(before, is_equal, self.grace_s)
        )
        return Compared(kind, before, in_database, error)

    def kind_of_wanted(self, row: RowState, is_equal: bool, value: bytes | None, error: str) -> Kind:
        """Judge a row that is to be cached."""
        if is_equal:
            return "equal"
        if self.is_in_time(row):
            return "older_within_interval"
        if error:
            return "unreadable"
        if row.value is None:
            return "missing"
        return "should_not_be_there" if value is None else "older_than_promised"

    def is_in_time(self, row: RowState) -> bool:
        """Whether a value that differs, or is absent, is not older than promised."""
        delay_s = row.delay or 0
        if row.value is not None and row.age is not None:
            # A changed delay counts from the change.
            return min(row.age, row.at - (row.changed or 0)) <= delay_s + self.grace_s
        if row.value is None and row.failure is not None and row.failure.error != NOT_FOUND:
            return False
        if row.is_value_gone:
            return False
        started_s = 0 if row.changed is None or row.failure is not None else row.at - row.changed
        longest_s = max(delay_s, self.lease_s) + self.grace_s
        late_s = min(delay_s, self.lease_s) + self.grace_s
        return row.due_in is not None and -late_s < row.due_in <= longest_s and started_s <= delay_s + longest_s


def is_json_object(value: bytes) -> bool:
    """Whether readers can decode a value."""
    try:
        msgspec.json.decode(value, type=dict[str, Any])
    except (ValueError, RecursionError):
        return False
    return True


def facts_of(row: RowState) -> tuple[object, ...]:
    """Return what changes when a row is refreshed, dropped or scheduled."""
    return row.value, row.refreshed, row.delay, row.changed, row.failure is None


def kind_of_unwanted(row: RowState, is_equal: bool, grace_s: float) -> Kind:
    """Judge a row that is not to be cached."""
    if row.value is None:
        return "equal"
    is_ending = row.expires_s is not None or (row.due is not None and row.due > row.at - grace_s)
    if not is_ending:
        return "should_not_be_there"
    return "equal" if is_equal else "older_within_interval"


def audit_rows(client: "redis.Redis", source: "Source", judge: Judge, row_ids: Sequence[str]) -> Iterator[Compared]:
    """Compare up to BATCH rows. Raises SourceError when the database cannot be read."""
    left, last = list(row_ids), dict[str, RowState]()
    for _ in range(LOOKS):
        if not left:
            return
        before = read_row_states(client, judge.table, left)
        fetched = source.fetch(left)
        judge.values, errors = fetched.encoder.encode_all(fetched.rows)
        judge.errors = errors | fetched.errors
        after = read_row_states(client, judge.table, left)
        left, last = [], {}
        for first, second in zip(before, after, strict=True):
            compared = judge.compare(first, second)
            if compared is None:
                left.append(first.row_id)
                last[first.row_id] = first
            else:
                yield compared
    yield from (Compared("changing", row, None) for row in last.values())


def audit_table(
    client: "redis.Redis", source: "Source", judge: Judge, sample: int, *, is_scanning: bool = False
) -> Iterator[Compared]:
    """Compare up to `sample` rows, chosen by chance; all if there are no more.

    `is_scanning`: then also values without a row. Raises SourceError, and redis.NoPermissionError at the end where SCAN
    is not allowed. A row that is wrong comes once.
    """
    wrong: set[str] = set()
    for row_ids in sample_row_ids(client, judge.table, sample, BATCH, is_scanning=is_scanning):
        for compared in audit_rows(client, source, judge, row_ids):
            if compared.row.row_id in wrong:
                continue
            if compared.kind in WRONG:
                wrong.add(compared.row.row_id)
            yield compared


def note_audit(client: "redis.Redis", table: Table, counts: Mapping[Kind, int]) -> None:
    """Add the rows that were compared, and those that are wrong, to the statistics."""
    pipeline = client.pipeline(transaction=False)
    stats = table.parts[0].keys.stats
    pipeline.hincrby(stats, "audited", sum(counts.values()) - counts.get("changing", 0))
    pipeline.hincrby(stats, "audit_wrong", sum(counts.get(kind, 0) for kind in WRONG))
    pipeline.execute()


def sample_row_ids(
    client: "redis.Redis", table: Table, count: int, size: int, *, is_scanning: bool
) -> Iterator[list[str]]:
    """Yield up to `count` row ids by chance, `size` at a time; all rows if there are no more.

    The rows are those of `schedule:`, `delay:` and `refreshed:`. `is_scanning`: with all of them also those with
    nothing but a value; raises redis.NoPermissionError at the end where SCAN is not allowed.
    """
    if table.partitions > 1:
        share = -(-count // table.partitions)
        for part in table.parts:
            yield from sample_row_ids(client, part, share, size, is_scanning=is_scanning)
        return
    keys = (table.keys.schedule, table.keys.delay, table.keys.refreshed)
    sizes: list[Any] = [client.zcard(key) for key in keys]
    if count >= max(sizes):
        for row_ids in TableState(client, table).scan_row_ids():
            yield from cut(row_ids, size)
        if is_scanning:
            yield from cut(lone_values(client, table), size)
        return
    seen: set[bytes] = set()
    places = [(key, rank) for key, members in zip(keys, sizes, strict=True) for rank in chosen(members, count)]
    random.shuffle(places)
    for batch in cut(places, size):
        pipeline = client.pipeline(transaction=False)
        for key, rank in batch:
            pipeline.zrange(key, rank, rank)
        found = [member for reply in pipeline.execute() for member in reply if member not in seen]
        members = list(dict.fromkeys(found))[: count - len(seen)]
        seen.update(members)
        if members:
            yield [decode_row_id(member) for member in members]
        if len(seen) >= count:
            return


def chosen(members: int, count: int) -> list[int]:
    """Return some ranks of a set."""
    return random.sample(range(members), min(members, count))


def lone_values(client: "redis.Redis", table: Table) -> Iterator[str]:
    """Yield the row ids of values that have no other key."""
    keys, prefix = table.keys, encode_row_id(table.keys.value_prefix)
    with node_of(client, keys.schedule) as server:  # SCAN has no key
        names: Any = server.scan_iter(SPECIAL.sub(rb"\\\1", prefix) + b"*", count=1000)
    for batch in cut((name.removeprefix(prefix) for name in names), 200):
        found: list[Any] = [client.zmscore(key, batch) for key in (keys.schedule, keys.delay, keys.refreshed)]
        for member, *scores in zip(batch, *found, strict=True):
            if scores == [None, None, None]:
                yield decode_row_id(member)
