"""A bare loop: SELECT of 500 rows, encode, MSET.

One process; no schedule, no guarantee.

python -m benchmarks.programs.bare_loop PART PARTS
"""

import json
import os
import sys
import time

import redis

from benchmarks.programs.row import Rows

BATCH = 500


def main() -> None:
    """At each order, refresh the share of this part."""
    part, parts = int(sys.argv[1]), int(sys.argv[2])
    broker = redis.Redis.from_url(os.environ["BENCH_BROKER_URL"], socket_timeout=None)
    rows = Rows()
    print("ready", flush=True)
    while True:
        order = json.loads(broker.blpop([f"go:{part}"])[1])  # type: ignore[index]
        ids = list(range(order["first"], order["last"] + 1))[part::parts]
        time.sleep(max(0.0, order["at"] - time.time()))
        for start in range(0, len(ids), BATCH):
            rows.refresh_many(ids[start : start + BATCH])


if __name__ == "__main__":
    main()
