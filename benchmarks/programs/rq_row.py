"""RQ: SimpleWorker, which does not fork for each job; enqueue_many; results are not kept."""

import os

import redis
from rq import Queue

from benchmarks.programs.row import rows_of_thread

REFRESH = "benchmarks.programs.rq_row.refresh"

queue = Queue(connection=redis.Redis.from_url(os.environ["BENCH_BROKER_URL"]))


def refresh(row_id: str) -> None:
    """Refresh a row."""
    rows_of_thread().refresh(row_id)


def enqueue(row_ids: list[str]) -> None:
    """Send a job for each row in one pipeline."""
    queue.enqueue_many([Queue.prepare_data(REFRESH, (row_id,), result_ttl=0) for row_id in row_ids])
