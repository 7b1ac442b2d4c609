"""A reader: GET of one of 1,000 values every millisecond, over a connection of its own, until it is killed.

    python -m benchmarks.programs.get_times FILE

Appends to FILE, for each GET, when it was sent (Unix time) and how long the answer took: two doubles, in seconds.
"""

import os
import random
import struct
import sys
import time

import redis

KEYS = [f"inv:{n}" for n in range(1000)]
DATABASE = 2
"""Of its own, which nobody else empties."""

PAUSE_S = 0.001


def main() -> None:
    """Read for ever."""
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"].replace("db=0", f"db={DATABASE}"))
    client.mset(dict.fromkeys(KEYS, b"x" * 320))
    pack = struct.Struct("<dd").pack
    choose, clock = random.choice, time.perf_counter
    with open(sys.argv[1], "wb", buffering=0) as file:  # noqa: PTH123
        print("ready", flush=True)
        while True:
            key, sent_at, start = choose(KEYS), time.time(), clock()
            client.get(key)
            file.write(pack(sent_at, clock() - start))
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
