"""dramatiq: two processes of eight threads, its default; messages are sent one by one, it has no call for many."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.programs.row import rows_of_thread

broker = RedisBroker(url=os.environ["BENCH_BROKER_URL"])
dramatiq.set_broker(broker)


@dramatiq.actor
def refresh(row_id: str) -> None:
    """Refresh a row."""
    rows_of_thread().refresh(row_id)


def enqueue(row_ids: list[str]) -> None:
    """Send a message for each row."""
    for row_id in row_ids:
        refresh.send(row_id)
