"""Celery with a task for each row.

Prefork, no results, no events, prefetch; messages are published in batches of kombu.
"""

import os
from typing import Any

from celery import Celery

from benchmarks.programs.row import rows_of_thread

app = Celery("celery_row", broker=os.environ["BENCH_CELERY_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=250,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def refresh(row_id: str) -> None:
    """Refresh a row."""
    rows_of_thread().refresh(row_id)


_producer: Any = None


def enqueue(row_ids: list[str]) -> None:
    """Send a message for each row over one connection."""
    global _producer  # noqa: PLW0603 - one for the process
    if _producer is None:
        _producer = app.amqp.Producer(app.connection_for_write())
    with _producer.batch():
        for row_id in row_ids:
            refresh.apply_async(args=(row_id,), producer=_producer, retry=False)
