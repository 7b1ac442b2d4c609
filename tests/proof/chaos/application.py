"""Load of an application: puts, drops and touches rows, through the scripts and through tasks."""

import random
import time

import redis
from kombu.exceptions import KombuError
from proof.chaos.acknowledged import CHANGING, DROPPED, SCHEDULED
from proof.chaos.repeated_step import RepeatedStep

from rowcache_tasks.tasks import refresh_now, schedule_rows, unschedule_rows

GROUP = 4
TASK_PATIENCE_S = 5.0
"""Seconds after which a task without effect is sent again: the broker may have lost it."""

FAILURES = (redis.RedisError, KombuError, OSError)


class RowChange:
    """Change of a few rows, sent as a task or applied by a script, and repeated until it takes effect."""

    def __init__(self, row_ids, delays, by_task):
        self.row_ids = row_ids
        self.delays = delays
        """Row id -> delay in seconds; None: drop the rows."""
        self.by_task = by_task
        self.sent_at = None

    def send(self, schedule):
        self.sent_at = time.monotonic()
        if self.by_task and self.delays:
            schedule_rows.delay("inv", self.delays)
        elif self.by_task:
            unschedule_rows.delay("inv", self.row_ids)
        elif self.delays:
            schedule.put_rows({row_id: (delay, 0) for row_id, delay in self.delays.items()})
        else:
            schedule.drop_rows(self.row_ids)

    @property
    def state(self):
        return SCHEDULED if self.delays else DROPPED


class Application(RepeatedStep):
    """Changes a few rows at each step. A third of the rows are dropped and put; the others are only touched."""

    pause_s = 0.05

    def __init__(self, client, schedule, ledger, delays, seed):
        super().__init__()
        self._client = client
        self._schedule = schedule
        self._ledger = ledger
        self._delays = delays
        self._random = random.Random(seed)
        self._coming_and_going = set(self._random.sample(sorted(delays), len(delays) // 3))
        self._pending = []

    def put_all(self):
        """Schedule all rows, the first refreshes spread over a second."""
        rows = {row_id: (delay, self._random.random()) for row_id, delay in self._delays.items()}
        self._ledger.note(rows, CHANGING)
        self._schedule.put_rows(rows)
        self._ledger.note(rows, SCHEDULED)

    def step(self):
        for change in list(self._pending):
            self._advance(change)
        choice = self._random.random()
        if choice < 0.3:
            self._touch()
        elif choice < 0.65:
            self._begin(DROPPED, SCHEDULED)
        else:
            self._begin(SCHEDULED, DROPPED)

    def _touch(self):
        row_ids = self._pick(self._ledger.rows(SCHEDULED))
        try:
            if self._random.random() < 0.5:
                self._schedule.touch_rows(row_ids)
            elif row_ids:
                refresh_now.delay("inv", row_ids)
        except FAILURES:
            pass  # a touch is not acknowledged

    def _begin(self, found, wanted):
        row_ids = self._pick(self._coming_and_going & self._ledger.rows(found).keys())
        if not row_ids:
            return
        self._ledger.note(row_ids, CHANGING)
        delays = {row_id: self._delays[row_id] for row_id in row_ids} if wanted == SCHEDULED else None
        change = RowChange(row_ids, delays, by_task=self._random.random() < 0.4)
        self._pending.append(change)
        self._advance(change)

    def _advance(self, change):
        """Send a change that has no effect yet, and acknowledge one that has."""
        try:
            if change.sent_at is None or time.monotonic() - change.sent_at > TASK_PATIENCE_S:
                change.send(self._schedule)
            elif not change.by_task:
                change.send(self._schedule)  # its script failed
            if not change.by_task or self._has_effect(change):
                self._pending.remove(change)
                self._ledger.note(change.row_ids, change.state)
        except FAILURES:
            pass  # tried again at the next step

    def _has_effect(self, change):
        found = self._client.zmscore("delay:", change.row_ids)
        return all((delay is not None) == bool(change.delays) for delay in found)

    def _pick(self, row_ids):
        return self._random.sample(sorted(row_ids), min(GROUP, len(row_ids)))
