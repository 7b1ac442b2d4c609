"""Worker step that gives fetched messages back when the worker stops.

Celery gives them back when the last running task has ended, and a message that the broker sends meanwhile lies in a
socket that nobody reads for a second or two. Here they go back to the head of their queue at once, where other workers
find them. If the process dies on the way, the broker delivers the messages again after its visibility_timeout; the rows
of a batch are due again when their lease ends.
"""

import logging
from queue import Empty
from typing import Any

from celery.bootsteps import CLOSE, StartStopStep  # type: ignore[attr-defined]
from celery.worker import state
from celery.worker.consumer import Tasks

from rowcache_tasks.celery.kombu.guard import guarded

logger = logging.getLogger(__name__)


@guarded(
    {
        "kombu.transport.redis:Channel._brpop_read": "9a9f7f5a6ad9 c42518699709",
        "kombu.transport.redis:QoS.restore_by_tag": "58e161d81b6f",
    }
)
class GiveBack(StartStopStep):
    """Stops before all other steps of the consumer. RabbitMQ itself does the same. See docs/upstream.md."""

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
