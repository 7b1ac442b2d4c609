"""Own how a dispatcher sends batches to the broker: one connection, no retries of its own. Must not know schedules.

A send that fails raises at once, so that the dispatcher can release the batch; the next send connects anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import Connection

from rowcache_tasks.backlog import EXPIRY_SLACK_S
from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.schedule import Claim
from rowcache_tasks.tasks import refresh_row

__all__ = ["Publisher"]

HANG_SLACK_S = 30


class Publisher:
    """Sends refresh_row messages. Not thread-safe: one for each dispatcher."""

    def __init__(self, app: Celery, lease_s: float) -> None:
        self._app = app
        self._lease_s = lease_s
        self._connection: Connection | None = None
        self._producer: Any = None

    def send(self, table: str, claim: Claim) -> None:
        """Send a batch; it expires some time after its lease, when its rows are due again anyway.

        A process that hangs on it, as on a database session that neither answers nor closes, is replaced in the end.
        """
        row_ids = claim.row_ids
        shown = f"{table!r}, {len(row_ids)} rows: {row_ids[0]!r} … {row_ids[-1]!r}"
        with self._fresh_after_failure():
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
                producer=self._connected_producer(),
                expires=self._lease_s + EXPIRY_SLACK_S,
                time_limit=2 * self._lease_s + HANG_SLACK_S,
                retry=False,
                # What Flower shows. Also saves the cost of rendering hundreds of ids for each event.
                argsrepr=f"({shown[:200]})",
                kwargsrepr="{}",
            )

    def queue_length(self) -> int:
        """Count the batches that wait in the queue; those that workers have fetched are not in it any more."""
        with self._fresh_after_failure():
            queue = self._app.amqp.queues[REFRESH_QUEUE](self._connected_producer().channel)
            declared: Any = queue.queue_declare()
            return int(declared.message_count)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()

    def _connected_producer(self) -> Any:
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._connection.connect()
            self._producer = self._app.amqp.Producer(self._connection)
        return self._producer

    @contextmanager
    def _fresh_after_failure(self) -> Iterator[None]:
        """Drop the connection when anything goes wrong on it: what was under way may still lie in its buffers."""
        try:
            yield
        except BaseException:
            self.close()
            raise
