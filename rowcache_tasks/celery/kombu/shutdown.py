"""Own what a worker gives back when it stops: the messages that it has fetched and not started. Must not know tasks.

Left alone, Celery gives them back when the last running task has ended; and a message that the broker sends while
the worker is already stopping lies in a socket that nobody reads for a second or two. Here they go back to the head
of their queue at once, where the other workers find them. If the process dies on the way, the broker delivers the
messages again after its visibility_timeout; of a batch to refresh, the rows are due again when their lease ends.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from billiard.pool import CLOSE as POOL_CLOSE
from celery.bootsteps import CLOSE, StartStopStep  # type: ignore[attr-defined]
from celery.worker import state
from celery.worker.consumer import Tasks

__all__ = ["GiveBack", "keep_handed_over"]

logger = logging.getLogger(__name__)


class GiveBack(StartStopStep):
    """A step of the consumer that stops before all others. On RabbitMQ the broker itself does the same."""

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Do nothing at the start."""

    def stop(self, consumer: Any) -> None:
        """Give back what is not running, unless only the connection is made anew."""
        channel: Any = getattr(consumer.task_consumer, "channel", None)
        if consumer.blueprint.state != CLOSE or not hasattr(getattr(channel, "qos", None), "restore_by_tag"):
            return
        consumer.task_consumer.on_message = ignore_message
        read_last_reply(channel)
        consumer.task_consumer.cancel()
        running = {request.message.delivery_tag for request in tuple(state.active_requests)}
        qos = channel.qos
        tags = [tag for tag in tuple(qos._delivered) if tag not in running and tag not in qos._dirty]
        for tag in reversed(tags):  # the oldest last: it goes to the head
            qos.restore_by_tag(tag)
            qos.ack(tag)
        logger.info("gave back %d messages that were not started", len(tags))


@contextmanager
def keep_handed_over(pool: Any) -> Iterator[None]:
    """See that Celery does not forget, at a stop, the tasks that lie in the pipe to a process and will be run by it.

    It takes them for not started until the process says that it has begun: their messages would be given back, and
    run a second time.
    """
    processes = getattr(pool, "_pool", None)
    jobs = getattr(processes, "_cache", {}) if getattr(processes, "_state", None) == POOL_CLOSE else {}
    kept = {number: job for number, job in jobs.items() if not job._accepted and is_written(job)}
    for request in tuple(state.reserved_requests):
        if request._apply_result is not None and request._apply_result() in kept.values():
            state.active_requests.add(request)
    yield
    jobs.update(kept)


def is_written(job: Any) -> bool:
    """Tell whether a process has all of a job in its pipe."""
    writer = job._writer() if getattr(job, "_writer", None) is not None else None
    return job._write_to is not None and (writer is None or writer.gi_frame is None)


def ignore_message(message: Any) -> None:
    """Leave a message unacknowledged."""


def read_last_reply(channel: Any) -> None:
    """Wait for the answer to the BRPOP that is under way, for a second at most: it may be one message more."""
    if channel._in_poll:  # as Channel.close() does, too late
        try:
            channel._brpop_read()
        except (Empty, *channel.connection_errors) as error:
            logger.debug("no message came any more: %r", error)
