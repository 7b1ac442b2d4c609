"""Worker step that notes the worker in Redis while it consumes."""

import logging
import time
from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker import state
from celery.worker.consumer import Tasks

from rowcache_tasks.celery.application import is_package, names_of, settings_of
from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.schedule.process import WORKER, ProcessNote
from rowcache_tasks.worker.busy import read_costs

logger = logging.getLogger(__name__)

TICK_S = 1.0


class Presence(StartStopStep):
    """Runs while the consumer is connected."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._note: ProcessNote | None = None
        self._timer: Any = None
        self._pool: Any = consumer.pool
        self._namespaces: dict[str, str] = {}
        self._wanted: list[str] = []
        self._batches = 0
        self._has_warned = False

    def start(self, consumer: Any) -> None:
        """Note the worker from now on; warn when it consumes no queue of the package."""
        ours, names = names_of(consumer.app).queues, [queue.name for queue in consumer.task_consumer.queues]
        self._wanted = self._wanted or [name for name in names if name in ours]
        if not self._wanted and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "no_queue: this worker consumes %s, so it refreshes nothing: add %s and %s to its option -Q",
                ", ".join(names) or "no queue",
                *ours,
            )
        if not self._wanted and not is_package(consumer.app):
            return  # a worker of other tasks needs neither Redis nor the settings of the cache
        settings = settings_of(consumer.app)
        tables, queues = ", ".join(settings.tables), ", ".join(self._wanted)
        facts = {"event": "ready", "tables": [*settings.tables], "queues": self._wanted}
        logger.info("ready: refreshing %s from %s", tables, queues or "no queue", extra=facts)
        self._note = ProcessNote(settings, WORKER, str(consumer.hostname))
        self._namespaces = {table.namespace: name for name, table in settings.tables.items()}
        self._timer = consumer.timer.call_repeatedly(TICK_S, self._write, (consumer.task_consumer,))

    def stop(self, _consumer: Any) -> None:
        """Erase the note: the worker stops, or has lost its broker."""
        timer, self._timer, note, self._note = self._timer, None, self._note, None
        if timer is not None:
            timer.cancel()
        if note is not None:
            note.erase()

    def _write(self, task_consumer: Any) -> None:
        if self._note is None:
            return
        queues = tuple(name for name in self._wanted if task_consumer.consuming_from(name))
        batches = state.total_count[REFRESH_TASK]
        started = [request.time_start for request in state.active_requests if request.name == REFRESH_TASK]
        running_s = [time.time() - at for at in started if at]
        is_written = self._note.write(
            is_alive=len(queues) == len(self._wanted),
            is_busy=batches != self._batches,
            queues=queues,
            running_s=max(running_s, default=None),
            pool=int(self._pool.num_processes or 0),
            costs={self._namespaces[each]: cost for each, cost in read_costs(self._namespaces).items()},
        )
        if is_written:
            self._batches = batches
