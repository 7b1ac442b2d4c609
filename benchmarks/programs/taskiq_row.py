"""taskiq: asyncio, a list in Redis as its queue, 100 tasks at once, its default.

taskiq has no call for many tasks: they are enqueued concurrently.
"""

import asyncio
import os

from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

from benchmarks.programs.row import AsyncRows

SESSIONS = 10

broker = ListQueueBroker(os.environ["BENCH_BROKER_URL"], max_connection_pool_size=60)
rows = AsyncRows()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_rows(_state: TaskiqState) -> None:
    """Open the connections of a worker."""
    await rows.open(SESSIONS)


@broker.task
async def refresh(row_id: str) -> None:
    """Refresh a row."""
    await rows.refresh(row_id)


async def enqueue(row_ids: list[str]) -> None:
    """Send a message for each row."""
    for start in range(0, len(row_ids), 50):
        await asyncio.gather(*(refresh.kiq(row_id) for row_id in row_ids[start : start + 50]))
