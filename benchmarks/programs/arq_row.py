"""arq: asyncio, 100 jobs at once, polling every 5 ms instead of every half second; results are not kept.

arq has no call for many jobs: they are enqueued concurrently. It reads TCP addresses or a path of a socket.
"""

import asyncio
import os
import urllib.parse
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from benchmarks.programs.row import AsyncRows

SESSIONS = 10

_url = urllib.parse.urlsplit(os.environ["BENCH_BROKER_URL"])
SETTINGS = RedisSettings(
    unix_socket_path=urllib.parse.unquote(_url.path), database=int(urllib.parse.parse_qs(_url.query)["db"][0])
)


async def open_rows(ctx: dict[str, Any]) -> None:
    """Open the connections of a worker."""
    ctx["rows"] = AsyncRows()
    await ctx["rows"].open(SESSIONS)


async def refresh(ctx: dict[str, Any], row_id: str) -> None:
    """Refresh a row."""
    await ctx["rows"].refresh(row_id)


class WorkerSettings:
    """What `arq benchmarks.programs.arq_row.WorkerSettings` runs."""

    functions: ClassVar[list[Any]] = [refresh]
    on_startup = open_rows
    redis_settings = SETTINGS
    max_jobs = 100
    poll_delay = 0.005
    keep_result = 0
    log_results = False


_pool: ArqRedis | None = None


async def enqueue(row_ids: list[str]) -> None:
    """Send a job for each row."""
    global _pool  # noqa: PLW0603 - one for the process
    if _pool is None:
        _pool = await create_pool(SETTINGS)
    for start in range(0, len(row_ids), 50):
        await asyncio.gather(*(_pool.enqueue_job("refresh", row_id) for row_id in row_ids[start : start + 50]))
