"""The limit: SELECT … WHERE id = ANY(500 ids), encode, MSET; one process, no schedule, no guarantees.

python -m benchmarks.programs.bare_loop PART PARTS
"""

import json
import os
import sys
import time

import msgspec
import psycopg
import redis

BATCH = 500


def main() -> None:
    """Wait for the order, then refresh this part's share of the rows."""
    part, parts = int(sys.argv[1]), int(sys.argv[2])
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    broker = redis.Redis.from_url(os.environ["BENCH_BROKER_URL"])
    encode = msgspec.json.Encoder().encode
    with psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True) as connection:
        cursor = connection.cursor()
        names = [column.name for column in cursor.execute("SELECT * FROM inventory LIMIT 0").description or ()]
        client.ping()
        print("ready", flush=True)
        order = json.loads(broker.blpop(["go"])[1])  # type: ignore[index]
        ids = list(range(order["first"], order["last"] + 1))[part::parts]
        seconds, microseconds = client.time()
        time.sleep(max(0.0, order["at"] - seconds - microseconds / 1e6))
        for start in range(0, len(ids), BATCH):
            cursor.execute("SELECT * FROM inventory WHERE id = ANY(%s)", [ids[start : start + BATCH]])
            client.mset({f"inv:{row[0]}": encode(dict(zip(names, row, strict=True))) for row in cursor.fetchall()})
        time.sleep(60)  # until it is killed: the processor time of its session at the server counts, too


if __name__ == "__main__":
    main()
