"""Changed rows of one table, by a column that grows with each change.

A row is read again for the margin after its value was the newest: a transaction that took a lower value may have been
committed later. Rows that were returned with the same value are left out. A time in whole seconds may be given to two
changes of a row: rows with such a value are returned once more, SETTLED_S later. During a pass of many rows, the newest
ones are returned in between; the pass returns them again.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import SourceColumn
from rowcache_tasks.database.source import Source
from rowcache_tasks.database.table import SourceTable
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten, suggest
from rowcache_tasks.schedule.cut import cut

PAGE = 5000  # rows in one SELECT
SLICE = 1000  # rows at a time
MAX_SEEN = 50_000
"""Rows within the margin that are remembered. Of more, those that are committed late wait for their interval."""
NEWEST = 200  # rows that overtake a pass at a time
NEWEST_S = 0.3  # until the first look at them, and between two
KEPT_S = 3600.0  # a clock of the database that steps back by less than this is followed
SETTLED_S = 1.0
MAX_TICKS = 100
TEMPORAL = re.compile("date|time", re.IGNORECASE)

Position = tuple[Any, ...]  # value of the column, then the key


class Watermark(Source):
    """Reader of changed rows. Needs the right to SELECT; an index on the column and the key makes it cheap."""

    def __init__(self, engine: Engine, settings: Table, column: str, margin_s: float) -> None:
        super().__init__(engine, settings)
        self._column, self._type_name = column, ""
        self._positions = Positions(margin_s)
        self._seen: set[int] = set()
        self._newest: Position | None = None  # position of the newest row that has overtaken the pass
        self._next_newest = 0.0
        self._ticks: dict[Any, tuple[float, set[int]]] = {}
        """Newest value of a pass, in whole seconds -> when it was found, and marks of its rows; none once settled."""

    def begin(self) -> None:
        """Start after the newest row. Raises ArgumentError without such a column, SourceError when unreachable."""
        self.load()
        rows = self._read(lambda table: self._select(table, None, 1, newest=True))
        self._positions.begin(self._clock(), rows[0][1] if rows else None)

    def changes(self, may_go_on: Callable[[], bool] = lambda: True) -> Iterator[list[str]]:
        """Yield ids of rows changed since the last pass that was read to its end, SLICE at a time.

        In between, and until `may_go_on`, the newest rows.
        """
        now = self._clock()
        after = self._positions.floor(now)
        self._settle(now)
        seen: set[int] = set()
        newest: Position | None = None
        value, marks = None, set[int]()
        self._newest, self._next_newest = None, time.monotonic() + NEWEST_S
        while True:
            now = self._clock()  # a pass may take much longer than the margin
            rows = self._read(lambda table, after=after: self._select(table, after, PAGE))  # type: ignore[misc]
            fresh = []
            for row_id, position in rows:
                mark = hash((row_id, position[0]))
                seen.add(mark)
                if position[0] != value:
                    value, marks = position[0], set()
                marks.add(mark)
                if row_id and mark not in self._seen:
                    fresh.append(row_id)
                    newest = position
            for some in cut(fresh, SLICE):
                yield some
                yield self._overtaking()
                while not may_go_on():
                    yield self._overtaking()
            if len(rows) < PAGE:
                break
            after = rows[-1][1]
            if len(seen) > MAX_SEEN:
                seen, marks, newest = set(), set(), None
                self._positions.begin(now, after)
        self._seen = seen
        if TEMPORAL.search(self._type_name) and "." not in str(value) and self._ticks.get(value, (0, marks))[1]:
            self._ticks[value] = self._ticks.get(value, (now, marks))[0], marks
        self._positions.note(now, newest)

    def _overtaking(self) -> list[str]:
        """Return the newest rows, if it is time, without those of the last look; the pass returns all others."""
        began = time.monotonic()
        if began < self._next_newest:
            return []
        rows = self._read(lambda table: self._select(table, self._newest, NEWEST, newest=True))
        if rows:
            self._newest = rows[0][1]
        self._next_newest = time.monotonic() + max(NEWEST_S, time.monotonic() - began)
        return [row_id for row_id, position in rows if row_id and hash((row_id, position[0])) not in self._seen]

    def _settle(self, now: float) -> None:
        """Let the rows of ticks that are over be returned again."""
        for value, (since, marks) in self._ticks.items():
            if abs(now - since) >= SETTLED_S:
                self._seen -= marks
                self._ticks[value] = since, set()
        for value in [*self._ticks][:-MAX_TICKS]:
            del self._ticks[value]

    def _select(
        self, table: SourceTable, after: Position | None, limit: int, *, newest: bool = False
    ) -> list[tuple[str, Position]]:
        """Read a page: row id ("" for a key that has none) and position, in order; the `newest` rows first if asked."""
        self._type_name = self._part(table).type_name
        parts = [self._part(table), *(table.columns[name] for name in table.key)]
        columns: list[ColumnElement[Any]] = [sa.column(part.name) for part in parts]
        statement = (
            sa.select(*(part.expression.label(f"part_{i}") for i, part in enumerate(parts)))
            .select_from(table.relation)
            .where(*(column.is_not(None) for column in columns))
            .order_by(*(column.desc() if newest else column for column in columns))
        )
        if self._dialect.tomorrow and TEMPORAL.search(parts[0].type_name):
            statement = statement.where(columns[0] <= sa.text(self._dialect.tomorrow))
        places: Sequence[ColumnElement[bool]] = [sa.true()]
        if after is not None:
            values = [self._dialect.bound(part, f"after_{i}") for i, part in enumerate(parts)]
            places = self._dialect.after(columns, values)
        parameters = {f"after_{i}": value for i, value in enumerate(after or ())}
        rows: list[Any] = []
        with self._dialect.transaction(self._engine) as connection:
            for place in reversed(places) if newest else places:
                rows += connection.execute(statement.where(place).limit(limit - len(rows)), parameters)
                if len(rows) == limit:
                    break
        return [(table.row_key.write(row[1:]), tuple(row)) for row in rows]

    def _part(self, table: SourceTable) -> SourceColumn:
        if self._column not in table.columns:
            known = suggest(self._column, table.columns)
            raise ArgumentError(f"column {shorten(self._column)} is not in {self._settings.table!r}{known}")
        return table.columns[self._column]

    def _clock(self) -> float:
        """Return the time of the database, by which the margin is measured, in seconds."""
        if not self._dialect.clock:
            return time.monotonic()
        return self._ask(lambda _, connection: float(connection.exec_driver_sql(self._dialect.clock).scalar_one()))


class Positions:
    """Newest positions by the time of the database at which they were read."""

    def __init__(self, margin_s: float) -> None:
        self._margin_s = margin_s
        self._noted: deque[tuple[float, Position | None]] = deque()
        self._is_stepped = False

    def begin(self, now: float, position: Position | None) -> None:
        """Forget all but a position. None: before all rows."""
        self._noted = deque([(now, position)])

    def floor(self, now: float) -> Position | None:
        """Return the newest position noted the margin ago or earlier, else the oldest; also after a clock step."""
        self._is_stepped = now < self._noted[-1][0]
        while len(self._noted) > 1 and self._noted[0][0] < now - KEPT_S - self._margin_s:
            self._noted.popleft()
        old_enough = (position for at, position in reversed(self._noted) if at <= now - self._margin_s)
        return next(old_enough, self._noted[0][1])

    def note(self, now: float, newest: Position | None) -> None:
        """Note the newest of the rows that have changed, if any; after a step back of the clock, none for a while."""
        if newest is not None and not self._is_stepped:
            self._noted.append((now, newest))
