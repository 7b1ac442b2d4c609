"""celery-batches: a task a row, of which the worker puts up to 500 together; one query and one MSET for each batch."""

import os
from typing import Any

from celery import Celery
from celery_batches import Batches

from benchmarks.programs.row import rows_of_thread

FLUSH_EVERY = 500
FLUSH_S = 0.1

app = Celery("celery_batch", broker=os.environ["BENCH_CELERY_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=4 * FLUSH_EVERY,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(base=Batches, flush_every=FLUSH_EVERY, flush_interval=FLUSH_S)
def refresh(requests: list[Any]) -> None:
    """Refresh the rows of many messages."""
    rows_of_thread().refresh_many([int(request.args[0]) for request in requests])


_producer: Any = None


def enqueue(row_ids: list[str]) -> None:
    """Send a message for each row over one connection."""
    global _producer  # noqa: PLW0603 - one for the process
    if _producer is None:
        _producer = app.amqp.Producer(app.connection_for_write())
    with _producer.batch():
        for row_id in row_ids:
            refresh.apply_async(args=(row_id,), producer=_producer, retry=False)
