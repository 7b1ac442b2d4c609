"""Beat scheduler that dispatches due rows: `celery -A rowcache_tasks beat`, or `worker -B`.

Ordinary beat_schedule entries run as well, each sent by one of the dispatchers. The time of the last run of an entry is
kept in Redis: there is no schedule file, and a restart does not start an interval anew.
"""

import gc
import logging
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from celery.beat import ScheduleEntry, Scheduler
from celery.utils.nodenames import gethostname
from celery.utils.time import maybe_make_aware

from rowcache_tasks.beat.publisher import Publisher
from rowcache_tasks.celery.startup import check_dispatcher
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.dispatch.clock_repair import ClockRepair
from rowcache_tasks.dispatch.dispatcher import Dispatcher, Limits
from rowcache_tasks.dispatch.signals import DeferredSignals
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.process import DISPATCHER, ProcessNote
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.script import load_script

logger = logging.getLogger(__name__)

MAX_TICK_S = 1.0
"""Longest tick: the health check of beat counts ticks."""

REPAIR_S = 0.02
"""Length of the turns that dispatching and the repair after a clock step take."""


class DispatchScheduler(Scheduler):
    """Dispatches rows within tick, between the ordinary entries. Any number may run, without a leader."""

    _publisher: Publisher | None = None
    _dispatcher: Dispatcher | None = None
    _note: ProcessNote | None = None
    _client: "redis.Redis"
    _key: str

    def setup_schedule(self) -> None:
        """Check the configuration and the servers, or exit; then read when the entries were last sent."""
        settings = check_dispatcher(self.app)
        self._client, self._key = connect(settings.redis_url, "dispatcher"), settings.names.beat
        logging.getLogger("celery.beat").addFilter(shorten_mailbox_error)
        super().setup_schedule()
        for name, entry in self.schedule.items():
            self._read_last_run(name, entry)
        self._build_dispatcher(settings)
        # All objects so far stay: a full collection would stop the dispatcher for 50 ms or more to find nothing.
        gc.collect()
        gc.freeze()
        logger.info("dispatching %s", ", ".join(settings.tables))

    def _read_last_run(self, name: str, entry: ScheduleEntry) -> None:
        """Set the last run of an entry: so long ago by the clock of this process as it is by that of Redis."""
        try:
            sent_at: Any = self._client.hget(self._key, name)
            if sent_at is not None:
                seconds, _ = self._client.time()
                entry.last_run_at = datetime.now(UTC) - timedelta(seconds=int(seconds) - float(sent_at))
        except (redis.RedisError, ValueError, OverflowError) as error:
            logger.warning("beat entry %s starts anew: %s", name, error)

    def _build_dispatcher(self, settings: Settings) -> None:
        schedules = [Schedule(self._client, table) for table in settings.tables.values()]
        backoff = Backoff(max_s=settings.max_backoff_s)
        interval_s = float(len(schedules))  # about one check of a clock a second, however many tables there are
        self._clock_repairs = [ClockRepair(schedule, settings.lease_s, backoff, interval_s) for schedule in schedules]
        self._publisher = Publisher(self.app, settings)
        self._signals = DeferredSignals()
        limits = Limits(settings.batch_size, settings.lease_s, settings.poll_interval_s, settings.max_queue)
        self._dispatcher = Dispatcher(self._client, schedules, self._publisher, limits, self._signals)
        name = f"beat@{gethostname()}"
        self._note = ProcessNote(settings, DISPATCHER, name)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send an ordinary entry if one is due; else dispatch rows until the next is due, for MAX_TICK_S at most."""
        if threading.current_thread() is threading.main_thread():
            self._signals.install()
        if self._note is not None:
            self._note.write()
        idle_s = super().tick(*args, **kwargs)
        if idle_s and self._dispatcher is not None:
            longest_s = REPAIR_S if self._repair_after_clock_step() else MAX_TICK_S
            self._dispatcher.run(time.monotonic() + min(idle_s, self.max_interval or MAX_TICK_S, longest_s))
        return 0

    def _repair_after_clock_step(self) -> bool:
        """Repair for REPAIR_S, if the clock of Redis stepped back; return whether there is more to repair."""
        until = time.monotonic() + REPAIR_S
        while any(repair.run() for repair in self._clock_repairs):
            if time.monotonic() > until:
                return True
        return False

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a due entry unless another dispatcher has just sent it."""
        name = str(entry.name)
        try:
            gap_s = 0.9 * self._pause_s(name, entry)
            arguments = [name, gap_s, secrets.token_hex(8)]
            is_ours = load_script("claim_entry").run(self._client, [self._key], arguments)
        except Exception as error:  # noqa: BLE001 as in the base class: no entry may stop beat
            logger.warning("beat entry %s is sent without asking the others: %s", name, error)
            is_ours = True
        if is_ours:
            super().apply_entry(entry, producer=producer)
        else:
            logger.debug("beat entry %s was sent by another dispatcher", name)

    def _pause_s(self, name: str, entry: ScheduleEntry) -> float:
        """Return the shorter of the pauses before and after this run: other dispatchers claim it much closer to it."""
        _, next_in_s = self.schedule[name].is_due()
        last_run_at = maybe_make_aware(entry.last_run_at or entry.default_now())
        return max(0.0, min(next_in_s, (datetime.now(UTC) - last_run_at).total_seconds()))

    def close(self) -> None:
        """Close the connections. Called twice at a stop, once from within the signal handler."""
        super().close()
        for part in (self._dispatcher, self._publisher):
            if part is not None:
                part.close()
        if self._note is not None:
            self._note.erase()

    @property
    def info(self) -> str:
        """Line of the banner."""
        return "    . schedule -> Redis"


def shorten_mailbox_error(record: logging.LogRecord) -> bool:
    """Leave the traceback out when the mailbox of beat has lost its connection: it connects anew by itself."""
    if str(record.msg).startswith("beat pidbox connection error"):
        record.exc_info = None
    return True
