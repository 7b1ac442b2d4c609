"""Dispatch loop of a process: by turns of a beat scheduler, or alone without beat."""

import gc
import logging
import signal
import threading
import time

import redis
from celery import Celery
from celery.utils.nodenames import gethostname

from rowcache_tasks.beat.publisher import Publisher
from rowcache_tasks.celery.startup import check_dispatcher
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.clock_repair import ClockRepair
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.signals import DeferredSignals
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.failure import Backoff
from rowcache_tasks.schedule.process import DISPATCHER, ProcessNote
from rowcache_tasks.schedule.rows import Schedule

logger = logging.getLogger(__name__)

MAX_TURN_S = 1.0  # longest turn: the health check of beat counts turns
PARTS_CHECKED = 64  # parts of tables whose clocks are checked in a second
REPAIR_S = 0.02  # length of the turns that dispatching and the repair after a clock step take


class DispatchLoop:
    """Dispatches the rows of all tables, repairs schedules after a clock step, and notes the process."""

    def __init__(self, app: Celery, settings: Settings, client: "redis.Redis", name: str) -> None:
        schedules = [Schedule(client, part) for table in settings.tables.values() for part in table.parts]
        backoff = Backoff(max_s=settings.max_backoff_s)
        # About one check of a clock a second for each table, more for many parts, and one of each promise.
        tables = len(settings.tables)
        pause_s = tables + (len(schedules) - tables) / PARTS_CHECKED
        self._clock_repairs = [
            ClockRepair(schedule, settings.lease_s, backoff, 1.0 if schedule.table.max_staleness_s else pause_s)
            for schedule in schedules
        ]
        self._publisher = Publisher(app, settings)
        self._signals = DeferredSignals()
        limits = Limits(settings.batch_size, settings.lease_s, settings.poll_interval_s, settings.max_queue)
        self._dispatcher = Dispatcher(client, schedules, self._publisher, limits, self._signals, name)
        self._note = ProcessNote(settings, DISPATCHER, name)
        # All objects so far stay: a full collection would stop the dispatcher for 50 ms or more to find nothing.
        gc.collect()
        gc.freeze()
        queue, served = settings.names.refresh_queue, ", ".join(settings.tables)
        logger.info(
            "ready: dispatching %s to %s", served, queue, extra={"event": "ready", "tables": [*settings.tables]}
        )

    def begin_turn(self) -> None:
        """Take over the signals in the main thread, and note the process."""
        if threading.current_thread() is threading.main_thread():
            self._signals.install()
        self._note.write()

    def run(self, seconds: float) -> None:
        """Dispatch for so long, at most MAX_TURN_S."""
        longest_s = REPAIR_S if self._repair_after_clock_step() else MAX_TURN_S
        self._dispatcher.run(time.monotonic() + min(seconds, longest_s))

    def _repair_after_clock_step(self) -> bool:
        """Repair for REPAIR_S, if the clock of Redis stepped back; return whether there is more to repair."""
        until = time.monotonic() + REPAIR_S
        while any(repair.run() for repair in self._clock_repairs):
            if time.monotonic() > until:
                return True
        return False

    def close(self) -> None:
        """Close the connections and remove the note. Idempotent."""
        self._dispatcher.close()
        self._publisher.close()
        self._note.erase()


def dispatch(app: Celery) -> None:
    """Dispatch until SIGTERM or SIGINT, which raise SystemExit; first check the servers, or exit with status 1."""
    settings = check_dispatcher(app)
    app.loader.import_default_modules()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no KeyboardInterrupt: the loop replaces it
    with connect(settings.redis_url, "dispatcher") as client:
        loop = DispatchLoop(app, settings, client, f"dispatch@{gethostname()}")
        try:
            while True:
                loop.begin_turn()
                loop.run(MAX_TURN_S)
        finally:
            loop.close()
