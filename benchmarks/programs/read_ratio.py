"""Time of a read beside that of the bare client, in one process.

Prints [ratio, processor time of a call in µs] of RowCache.get beside GET and decode, and of RowCache.get_many of 100
rows beside MGET and decode. The two take turns; the ratio is the median of that of neighbours. The package is that of
PYTHONPATH.
"""

import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec
import redis

from rowcache_tasks import RowCache

ROWS = 1000
MANY = 100
PAIRS = 151
Read = Callable[[Any], Any]
TURN_CALLS = {1: 60, MANY: 15}


def main() -> None:
    """Print the figures as JSON."""
    url = os.environ["BENCH_REDIS_URL"]
    client: Any = redis.Redis.from_url(url)
    decode = msgspec.json.Decoder(dict).decode
    row_ids = [str(n) for n in range(1, ROWS + 1)]
    parts = [row_ids[n : n + MANY] for n in range(0, ROWS, MANY)]

    def get_many(some: list[str]) -> Any:
        values = client.mget([f"inv:{row_id}" for row_id in some])
        return {row_id: decode(value) for row_id, value in zip(some, values, strict=True)}

    with RowCache("inv", url=url, timeout=30.0) as cache:
        one = compare(cache.get, lambda row_id: decode(client.get(f"inv:{row_id}")), row_ids, TURN_CALLS[1])
        many = compare(cache.get_many, get_many, parts, TURN_CALLS[MANY])
    print(json.dumps({"get": one, "get_many": many}))


def compare(mine: Read, bare: Read, arguments: list[Any], calls: int) -> tuple[float, float]:
    """Return the median ratio of neighbours, and the median processor time of a call in µs."""
    ratios, costs = [], []
    for number in range(PAIRS):
        some = [arguments[(number * calls + n) % len(arguments)] for n in range(calls)]
        if number % 2:
            theirs, ours = timed(bare, some), timed(mine, some)
        else:
            ours, theirs = timed(mine, some), timed(bare, some)
        ratios.append(ours[0] / theirs[0])
        costs.append(1e6 * ours[1] / calls)
    return median(ratios), median(costs)


def timed(read: Read, arguments: list[Any]) -> tuple[float, float]:
    """Call for each argument; return the seconds that passed, and those of the processor in this process."""
    started, used = time.perf_counter(), time.process_time()
    for argument in arguments:
        read(argument)
    return time.perf_counter() - started, time.process_time() - used


if __name__ == "__main__":
    main()
