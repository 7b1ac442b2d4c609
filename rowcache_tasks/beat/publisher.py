"""Messages of a dispatcher: refresh_row tasks on one broker connection."""

from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.schedule.claim import Claim, to_messages
from rowcache_tasks.schedule.role import NotPrimaryError

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
