"""huey with a task for each row.

Two worker processes block on a list in Redis; no results; messages are sent one by one.
"""

import os

import redis
from huey import RedisHuey

from benchmarks.programs.row import rows_of_thread

huey = RedisHuey(
    "bench",
    connection_pool=redis.ConnectionPool.from_url(os.environ["BENCH_BROKER_URL"]),
    results=False,
    blocking=True,
)


@huey.task()  # type: ignore[untyped-decorator]
def refresh(row_id: str) -> None:
    """Refresh a row."""
    rows_of_thread().refresh(row_id)


def enqueue(row_ids: list[str]) -> None:
    """Send a message for each row."""
    for row_id in row_ids:
        refresh(row_id)
