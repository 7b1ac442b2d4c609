"""What stands before a task queue: polls the schedule, claims what is due and enqueues a task for each row.

    python -m benchmarks.programs.feed MODULE    with `enqueue(row_ids)` of benchmarks.programs.MODULE

No lease and no fence, as one would write it in an afternoon: a claim puts the row to its next time.
"""

import asyncio
import importlib
import inspect
import os
import sys
import time
from collections.abc import Awaitable, Callable

import redis

BATCH = 500
PAUSE_S = 0.005


def claim(client: redis.Redis) -> list[str]:
    """Take up to BATCH rows that are due, with three commands for all of them."""
    now = time.time()
    found = client.zrange("schedule:", "-inf", now, byscore=True, offset=0, num=BATCH)  # type: ignore[arg-type]
    if not found:
        return []
    delays = dict(zip(found, client.zmscore("delay:", found), strict=True))
    kept = {row_id: now + delay for row_id, delay in delays.items() if delay is not None and delay > 0}
    for row_id in delays.keys() - kept.keys():
        client.zrem("schedule:", row_id)
        client.delete(b"inv:" + row_id)
    if kept:
        client.zadd("schedule:", kept)
    return [row_id.decode() for row_id in kept]


def feed(client: redis.Redis, enqueue: Callable[[list[str]], None]) -> None:
    """Enqueue what is due, for ever."""
    while True:
        row_ids = claim(client)
        if row_ids:
            enqueue(row_ids)
        else:
            time.sleep(PAUSE_S)


async def feed_async(client: redis.Redis, enqueue: Callable[[list[str]], Awaitable[None]]) -> None:
    """The same for libraries that enqueue with coroutines; claiming blocks, nothing else goes on here."""
    while True:
        row_ids = claim(client)
        if row_ids:
            await enqueue(row_ids)
        else:
            await asyncio.sleep(PAUSE_S)


def main() -> None:
    """Feed the queue of a module."""
    module = importlib.import_module(f"benchmarks.programs.{sys.argv[1]}")
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    print("ready", flush=True)
    if inspect.iscoroutinefunction(module.enqueue):
        asyncio.run(feed_async(client, module.enqueue))
    else:
        feed(client, module.enqueue)


if __name__ == "__main__":
    main()
