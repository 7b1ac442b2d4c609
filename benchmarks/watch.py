"""Own how late refreshes are, seen from outside: when each row was due, and when its value was written.

Two ZSETs tell it, whoever refreshes: `schedule:` when a row is due, `refreshed:` when it was written last. With us both
are there anyway; the programs of others keep them. All rows are looked at from 10 ms to 20 ms after they were due, and
again until they were refreshed, which takes about 3 microseconds of processor time each. The times themselves are exact
to the microsecond, whenever they are read.
"""

import time
from collections import defaultdict
from collections.abc import Sequence

import redis

from benchmarks.lateness import Lateness
from benchmarks.timetable import Row
from benchmarks.watched import Watched

TICK_S = 0.01

AT_ONCE = 500
"""Rows in one look: what the server does for it takes half a millisecond."""


class Watch:
    """Watches the rows of a timetable that were refreshed some time before the window, from before the first is due.

    The window is from `start` to `end`; `lease_s` is how long a claim lasts, None when claims leave no lease.
    """

    def __init__(
        self, client: redis.Redis, rows: Sequence[Row], start: float, end: float, lease_s: float | None
    ) -> None:
        self._client = client
        self._rows = [Watched(row.row_id, row.delay_s, row.due, start) for row in rows]
        self._start, self._end, self._lease_s = start, end, lease_s
        self._looks: dict[int, list[Watched]] = defaultdict(list)
        self._found = Lateness(asked=sum((end - start) / row.delay_s for row in rows))

    def run(self, until: float) -> Lateness:
        """Watch until some time after the end of the window; give what was due in the window."""
        for row in self._rows:
            if row.due is not None and row.due < until:
                self._look_later(row, row.due)
        tick = min(self._looks, default=0)
        while tick * TICK_S < until:
            time.sleep(max(0.0, tick * TICK_S - time.time()))
            self._look(self._looks.pop(tick, []))
            tick += 1
        self._look([row for rows in self._looks.values() for row in rows if row.due is not None and row.due < until])
        for row in self._rows:
            if row.due is not None and self._start <= row.due < self._end:
                self._found.waiting.append(until - row.due)
        return self._found

    def _look(self, rows: Sequence[Watched]) -> None:
        """Look at rows that are due, or were when they were looked at last."""
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            row_ids = [row.row_id for row in part]
            now = time.time()
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.zmscore("schedule:", row_ids)
                pipeline.zmscore("refreshed:", row_ids)
                due, refreshed = pipeline.execute()
            for row, score, at in zip(part, due, refreshed, strict=True):
                self._note(row, score, at, now)

    def _note(self, row: Watched, score: float, refreshed: float, now: float) -> None:
        refresh = row.note(score, refreshed, now, self._lease_s)
        if refresh is not None:
            is_clear = refresh.due is not None
            due = refresh.at if refresh.due is None else refresh.due
            if self._start <= due < self._end:
                self._found.unclear += not is_clear
                if is_clear:
                    self._found.done.append((refresh.at - self._start, max(0.0, refresh.at - due)))
        if row.due is not None and row.due > now:
            self._look_later(row, row.due)
        else:
            late_s = now - (row.due or now)
            self._look_later(row, now + min(max(TICK_S, late_s / 4), max(TICK_S, row.delay_s / 2)))

    def _look_later(self, row: Watched, at: float) -> None:
        self._looks[int(at / TICK_S) + 2].append(row)
