"""Dispatch loop of a process, by turns of a beat scheduler or alone without beat, and the publisher of its messages."""

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery import Celery
from celery.utils.nodenames import gethostname
from kombu import Connection
from kombu.exceptions import OperationalError

from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.celery.startup import check_dispatcher
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.clock_repair import ClockRepair
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.signals import DeferredSignals
from rowcache_tasks.schedule.claim import Claim, to_messages
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.process import DISPATCHER, ProcessNote
from rowcache_tasks.schedule.role import NotPrimaryError
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule

logger = logging.getLogger(__name__)

MAX_TURN_S = 1.0  # longest turn: the health check of beat counts turns
PARTS_CHECKED = 64  # parts of tables whose clocks are checked in a second
REPAIR_S = 0.02  # length of the turns that dispatching and the repair after a clock step take
HANG_SLACK_S = 30


class Publisher:
    """Broker of a dispatcher. Not thread-safe.

    A failure raises at once, so that the dispatcher can release the batch; the next call connects anew. Only a command
    that a replica refused after a failover is sent a second time.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._lease_s = settings.lease_s
        self._queue = settings.names.refresh_queue
        self._connection: Connection | None = None
        self._producer: Any = None

    def send(self, table: str, claims: Sequence[Claim]) -> None:
        """Send claims in one message.

        The worker checks its age by the clock of Redis: `expires` would compare the clocks of two machines. A pool
        process that hangs, as on a database session that neither replies nor closes, is replaced in the end.
        """
        row_ids, claim = to_messages(claims)
        rows = sum(len(claim.row_ids) for claim in claims)
        shown = f"{table!r}, {rows} rows: {row_ids[0]!r} … {claims[-1].row_ids[-1]!r}"
        task: Any = self._app.tasks[REFRESH_TASK]
        self._call(
            lambda producer: task.apply_async(
                args=(table, row_ids),
                kwargs=claim,
                producer=producer,
                task_id=claims[0].task_id or None,
                time_limit=2 * self._lease_s + HANG_SLACK_S,
                retry=False,
                # Shown by Flower; saves the cost of rendering hundreds of ids for each event.
                argsrepr=f"({shown[:200]})",
                kwargsrepr="{}",
            )
        )

    def queue_length(self) -> int:
        """Count the messages in the queue. Messages that workers have fetched are not in it any more."""
        queue = self._app.amqp.queues[self._queue]
        declared = self._call(lambda producer: queue(producer.channel).queue_declare())
        return int(declared.message_count)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()

    def _call(self, work: Callable[[Any], Any]) -> Any:
        try:
            return self._try(work)
        except NotPrimaryError:
            return self._try(work)

    def _try(self, work: Callable[[Any], Any]) -> Any:
        """Pass a producer. An error drops the connection: the rest of a command may lie in its buffers."""
        try:
            if self._producer is None:
                self._connection = self._app.connection_for_write()
                self._connection.connect()
                self._producer = self._app.amqp.Producer(self._connection)
            return work(self._producer)
        except OperationalError as error:
            self.close()
            raise error.__cause__ or error from None
        except BaseException:
            self.close()
            raise


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
        self._note.write(refused=self._dispatcher.failing.refusal)

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
