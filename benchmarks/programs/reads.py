"""Reader beside a promise: reads random rows with RowCache at a rate, until it is killed."""

import os
import random
import sys
import time

from rowcache_tasks import RowCache


def main() -> None:
    """Read rows 1 to ROWS, RATE a second, both of the command line."""
    rows, rate = map(int, sys.argv[1:])
    with RowCache("inv", url=os.environ["BENCH_REDIS_URL"], timeout=30.0) as cache:
        sys.stderr.write("ready\n")
        sys.stderr.flush()
        at = time.monotonic()
        while True:
            for _ in range(max(1, rate // 20)):
                cache.get(random.randint(1, rows))
            at = max(at + 0.05, time.monotonic() - 1)
            time.sleep(max(0.0, at - time.monotonic()))


if __name__ == "__main__":
    main()
