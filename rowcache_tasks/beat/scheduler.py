"""Own the beat scheduler that dispatches due rows: `celery -A rowcache_tasks beat`, or `worker -B`.

Ordinary beat_schedule entries still run, each sent by one of the dispatchers. When an entry was last sent is kept in
Redis, so that there is no schedule file, and a restart does not start an interval anew.
"""

import gc
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

import redis
from celery.beat import ScheduleEntry, Scheduler
from celery.utils.time import maybe_make_aware

from rowcache_tasks.beat.publisher import Publisher
from rowcache_tasks.celery.startup import check_dispatcher
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.dispatch.backpressure import Backlog
from rowcache_tasks.dispatch.clock_repair import Clock
from rowcache_tasks.dispatch.dispatcher import Dispatcher, Limits
from rowcache_tasks.dispatch.next_due import Lookout
from rowcache_tasks.dispatch.signals import Shield
from rowcache_tasks.dispatch.wakeup import Alarm
from rowcache_tasks.keys import BEAT_ENTRIES
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.script import load_script

__all__ = ["DispatchScheduler"]

logger = logging.getLogger(__name__)

MAX_TICK_S = 1.0
"""tick returns at least so often: beat's health check counts ticks."""

REPAIR_S = 0.02
"""Dispatching and the repair after a clock step take turns of so long."""


class DispatchScheduler(Scheduler):
    """Dispatches rows within tick, between the ordinary entries. Any number may run; none is the leader."""

    _alarm: Alarm | None = None
    _lookout: Lookout | None = None
    _publisher: Publisher | None = None
    _client: "redis.Redis"
    _clocks: list[Clock]

    def setup_schedule(self) -> None:
        """Check the configuration and the servers, or exit; then take up the entries where they were left."""
        settings = check_dispatcher(self.app)
        self._client = connect(settings.redis_url, "dispatcher")
        super().setup_schedule()
        for name, entry in self.schedule.items():
            try:
                sent_at: Any = self._client.hget(BEAT_ENTRIES, name)
                if sent_at is not None:
                    entry.last_run_at = datetime.fromtimestamp(float(sent_at), UTC)
            except (redis.RedisError, ValueError, OverflowError) as error:
                logger.warning("beat entry %s starts anew: %s", name, error)
        self._dispatcher = self._build_dispatcher(settings)
        # What there is now stays: a full collection would stop the dispatcher for 50 ms or more to find nothing.
        gc.collect()
        gc.freeze()
        logger.info("dispatching %s", ", ".join(settings.tables))

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send an ordinary entry if one is due; else dispatch rows until the next is, for MAX_TICK_S at most."""
        if threading.current_thread() is threading.main_thread():
            self._shield.install()
        idle_s = super().tick(*args, **kwargs)
        if idle_s:
            longest_s = REPAIR_S if self._check_clocks() else MAX_TICK_S
            self._dispatcher.run(time.monotonic() + min(idle_s, self.max_interval or MAX_TICK_S, longest_s))
        return 0

    def _check_clocks(self) -> bool:
        """See whether the clock of Redis stepped back; then repair for REPAIR_S. Returns whether there is more."""
        until = time.monotonic() + REPAIR_S
        while any(clock.check() for clock in self._clocks):
            if time.monotonic() > until:
                return True
        return False

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a due entry unless another dispatcher has just done so."""
        name = str(entry.name)
        try:
            gap_s = 0.9 * self._pause_s(name, entry)
            is_ours = load_script("claim_entry").run(self._client, [BEAT_ENTRIES], [name, gap_s])
        except Exception as error:  # noqa: BLE001 as in the base class: no entry may stop beat
            logger.warning("beat entry %s is sent without asking the others: %s", name, error)
            is_ours = True
        if is_ours:
            super().apply_entry(entry, producer=producer)
        else:
            logger.debug("beat entry %s was sent by another dispatcher", name)

    def _pause_s(self, name: str, entry: ScheduleEntry) -> float:
        """How far this run is from the one before and the one after: the other dispatchers want it much closer."""
        _, next_in_s = self.schedule[name].is_due()
        last_run_at = maybe_make_aware(entry.last_run_at or entry.default_now())
        return max(0.0, min(next_in_s, (datetime.now(UTC) - last_run_at).total_seconds()))

    def close(self) -> None:
        """Close the connections. Called twice at a stop, once from within the signal handler."""
        super().close()
        if self._alarm is not None:
            self._alarm.close()
        if self._lookout is not None:
            self._lookout.close()
        if self._publisher is not None:
            self._publisher.close()

    @property
    def info(self) -> str:
        """What the banner shows."""
        return "    . schedule -> Redis"

    def _build_dispatcher(self, settings: Settings) -> Dispatcher:
        tables = list(settings.tables.values())
        schedules = [Schedule(self._client, table) for table in tables]
        backoff = Backoff(max_s=settings.max_backoff_s)
        # About one look a second, however many tables there are.
        interval_s = float(len(schedules))
        self._clocks = [Clock(schedule, settings.lease_s, backoff, interval_s) for schedule in schedules]
        self._publisher = Publisher(self.app, settings.lease_s)
        self._alarm = Alarm(self._client, [table.keys.wake for table in tables])
        self._lookout = Lookout(self._client, [table.keys.schedule for table in tables])
        self._shield = Shield()
        return Dispatcher(
            schedules,
            self._publisher,
            self._alarm,
            self._lookout,
            Backlog(self._client),
            Limits(settings.batch_size, settings.lease_s, settings.poll_interval_s, settings.max_queue),
            self._shield,
        )
