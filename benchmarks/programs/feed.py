"""Feed of a task queue: a task for each due row.

    python -m benchmarks.programs.feed MODULE    with `enqueue(row_ids)` of benchmarks.programs.MODULE

No lease and no fence: a claim moves the row to its next due time.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

BATCH = 500
PAUSE_S = 0.005


def claim(client: Any) -> list[str]:
    """Claim up to BATCH due rows with three commands."""
    now = time.time()
    found = client.zrange("schedule:", "-inf", now, byscore=True, offset=0, num=BATCH)
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


def feed(client: Any, enqueue: Callable[[list[str]], None]) -> None:
    """Enqueue due rows forever."""
    while True:
        row_ids = claim(client)
        if row_ids:
            enqueue(row_ids)
        else:
            time.sleep(PAUSE_S)


def main() -> None:
    """Feed the queue of a module."""
    module = importlib.import_module(f"benchmarks.programs.{sys.argv[1]}")
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    print("ready", flush=True)
    feed(client, module.enqueue)


if __name__ == "__main__":
    main()
