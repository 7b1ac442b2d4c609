"""Own how a dispatcher sends batches to the broker: one connection, no retries of its own. Must not know schedules.

A send that fails raises at once, so that the dispatcher can release the batch; the next send connects anew. The events
that tell Flower of it are held back a little, to go several in one message.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import Connection

from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.dispatch.backpressure import EXPIRY_SLACK_S
from rowcache_tasks.schedule.rows import Claim
from rowcache_tasks.tasks import refresh_row

__all__ = ["Publisher"]

HANG_SLACK_S = 30

EVENTS_S = 0.5
"""No event is held back for longer while batches are sent; and none when there is nothing to send."""


class Publisher:
    """Sends refresh_row messages. Not thread-safe: one for each dispatcher."""

    def __init__(self, app: Celery, lease_s: float) -> None:
        self._app = app
        self._lease_s = lease_s
        self._connection: Connection | None = None
        self._producer: Any = None
        self._events: Any = None
        self._flush_at = 0.0

    def send(self, table: str, claim: Claim) -> None:
        """Send a batch; it expires some time after its lease, when its rows are due again anyway.

        A process that hangs on it, as on a database session that neither answers nor closes, is replaced in the end.
        """
        row_ids = claim.row_ids
        shown = f"{table!r}, {len(row_ids)} rows: {row_ids[0]!r} … {row_ids[-1]!r}"
        with self._fresh_after_failure():
            producer = self._connected_producer()
            task: Any = refresh_row
            task.apply_async(
                args=(table, row_ids),
                kwargs={
                    "claim": {
                        "claimed_at": claim.claimed_at,
                        "lease_until": claim.lease_until,
                        "late": claim.late,
                    }
                },
                producer=producer,
                event_dispatcher=self,
                expires=self._lease_s + EXPIRY_SLACK_S,
                time_limit=2 * self._lease_s + HANG_SLACK_S,
                retry=False,
                # What Flower shows. Also saves the cost of rendering hundreds of ids for each event.
                argsrepr=f"({shown[:200]})",
                kwargsrepr="{}",
            )
            if self._flush_at and time.monotonic() > self._flush_at:
                self.flush()

    def publish(self, kind: str, fields: dict[str, Any], *_: Any, **__: Any) -> None:
        """Hold an event back, in place of Celery's event dispatcher: with task_send_sent_event."""
        self._flush_at = self._flush_at or time.monotonic() + EVENTS_S
        self._events.send(kind, **fields)

    def flush(self) -> None:
        """Send the events that were held back, or raise; does nothing when there are none."""
        if self._flush_at:
            self._flush_at = 0.0
            with self._fresh_after_failure():
                self._events.flush()

    def queue_length(self) -> int:
        """Count the batches that wait in the queue; those that workers have fetched are not in it any more."""
        with self._fresh_after_failure():
            queue = self._app.amqp.queues[REFRESH_QUEUE](self._connected_producer().channel)
            declared: Any = queue.queue_declare()
            return int(declared.message_count)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        connection, self._connection, self._producer, self._flush_at = self._connection, None, None, 0.0
        if connection is not None:
            connection.release()

    def _connected_producer(self) -> Any:
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._connection.connect()
            self._producer = self._app.amqp.Producer(self._connection)
            self._events = self._app.events.Dispatcher(
                channel=self._producer.channel, buffer_while_offline=False, buffer_group=["task"]
            )
        return self._producer

    @contextmanager
    def _fresh_after_failure(self) -> Iterator[None]:
        """Drop the connection when anything goes wrong on it: what was under way may still lie in its buffers."""
        try:
            yield
        except BaseException:
            self.close()
            raise
