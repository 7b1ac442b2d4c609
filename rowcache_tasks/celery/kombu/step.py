"""Worker steps: a note, events sent together, fetched messages given back."""

import logging
import time
from queue import Empty
from typing import Any

from celery.bootsteps import CLOSE, StartStopStep  # type: ignore[attr-defined]
from celery.worker import state
from celery.worker.consumer import Tasks

from rowcache_tasks.celery.application import is_package, names_of, settings_of
from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.celery.kombu.guard import guarded
from rowcache_tasks.schedule.process import WORKER, ProcessNote
from rowcache_tasks.worker.busy import read_costs
from rowcache_tasks.worker.refusal import read_refusal

logger = logging.getLogger(__name__)

TICK_S = 1.0
FLUSH_S = 0.1  # longest time for which an event waits for others


class Presence(StartStopStep):
    """Notes the worker while its consumer is connected, by its event loop: a worker that hangs writes no note."""

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
        consumer.timer.call_after(0, self._write_first, (consumer.task_consumer,))

    def stop(self, _consumer: Any) -> None:
        """Erase the note: the worker stops, or has lost its broker."""
        timer, self._timer, note, self._note = self._timer, None, self._note, None
        if timer is not None:
            timer.cancel()
        if note is not None:
            note.erase()

    def _write_first(self, task_consumer: Any) -> None:
        """Write the note before the first message is received, by a loop that consumes already."""
        if all(map(task_consumer.consuming_from, self._wanted)):
            self._write(task_consumer)

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
            refused=read_refusal(),
            costs={self._namespaces[each]: cost for each, cost in read_costs(self._namespaces).items()},
        )
        if is_written:
            self._batches = batches


class EventFlush(StartStopStep):
    """Sends events ten times a second at most.

    Celery sends them in each turn of its loop, and waits for the broker before the batch of that turn goes to the pool:
    of small batches, half of the time of the process.
    """

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Plan the next flush at the first event after the last one."""
        dispatcher, hub = consumer.event_dispatcher, consumer.hub
        planned: list[Any] = []
        if dispatcher is None or hub is None:
            return  # sent one by one

        def flush() -> None:
            planned.clear()
            dispatcher.flush()

        def plan() -> None:
            if not planned:
                planned.append(hub.call_later(FLUSH_S, flush))

        dispatcher.on_send_buffered = plan

    def stop(self, consumer: Any) -> None:
        """Send each event at once from now on: the loop ends, and batches that run have events to come.

        Those of a lost connection are sent by the next one.
        """
        dispatcher = consumer.event_dispatcher
        if dispatcher is not None and consumer.hub is not None and consumer.blueprint.state == CLOSE:
            dispatcher.on_send_buffered = dispatcher.flush
            dispatcher.flush()


@guarded(
    {
        "kombu.transport.redis:Channel._brpop_read": "9a9f7f5a6ad9 c42518699709",
        "kombu.transport.redis:QoS.restore_by_tag": "58e161d81b6f",
    }
)
class GiveBack(StartStopStep):
    """Gives fetched messages back before all other steps stop, so that other workers find them (docs/upstream.md).

    If the process dies on the way, the broker delivers them after its visibility_timeout, and the rows of a batch are
    due when their lease ends. RabbitMQ itself gives them back.
    """

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Do nothing at the start."""

    def stop(self, consumer: Any) -> None:
        """Return the messages that are not running to their queue, unless only the connection is made anew."""
        channel: Any = getattr(consumer.task_consumer, "channel", None)
        if consumer.blueprint.state != CLOSE or not hasattr(getattr(channel, "qos", None), "restore_by_tag"):
            return
        consumer.task_consumer.on_message = lambda _: None  # unacknowledged
        read_last_reply(channel)
        consumer.task_consumer.cancel()
        # Active once its process says so; handed to the pool, it runs all the same.
        running = {
            request.message.delivery_tag
            for request in (*state.active_requests, *state.reserved_requests)
            if request in state.active_requests or request._apply_result is not None
        }
        qos = channel.qos
        tags = [tag for tag in tuple(qos._delivered) if tag not in running and tag not in qos._dirty]
        for tag in reversed(tags):  # the oldest last: it goes to the head
            qos.restore_by_tag(tag)
            qos.ack(tag)
        logger.info("gave back %d messages that were not started", len(tags))


def read_last_reply(channel: Any) -> None:
    """Wait for the reply to the BRPOP under way, for a second at most: it may be one message more."""
    if channel._in_poll:  # as Channel.close() does, too late
        try:
            channel._brpop_read()
        except (Empty, *channel.connection_errors) as error:
            logger.debug("no message came any more: %r", error)
