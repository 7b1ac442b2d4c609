"""What a hit of the near cache costs beside a GET, and for how long processes see the old value after a commit.

    PYTHONPATH=tests python -m stress.near_cache [--commits 500] [--readers 4]

The same rows are read with redis-py's GET and msgspec, with RowCache, and with RowCache(near=…), in turn; costs and
ratios are medians of a hundred short rounds. Then one process commits changes of a row as a worker does, while others
read it every 0.2 ms, or one without pause. A process that still sees the old value is counted from the moment in which
the commit was sent. In the end the row is refreshed as often without a change, which must take nothing away.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import msgspec
from support.project import ROOT
from support.waiting import wait_until

from rowcache_tasks import RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.demo.servers import Valkey
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

ROWS, ROUNDS, READS = 1000, 100, 3000
COMMIT_EVERY_S = 0.02
ROW = {
    "id": 1,
    "name": "item 1",
    "stock": 17,
    "price": "12.50",
    "changed_at": "2026-11-23T02:00:00Z",
    "tags": ["a", "b"],
}


def measure(read, count):
    """Give the microseconds of one read."""
    row_ids = [str(n % ROWS) for n in range(count)]
    started = time.perf_counter()
    for row_id in row_ids:
        read(row_id)
    return 1e6 * (time.perf_counter() - started) / count


def measure_cost(url):
    """Print what a read costs: the best of some rounds, each of which measures all."""
    client, decode = connect(url, "test"), msgspec.json.Decoder(dict).decode
    client.mset({f"inv:{n}": msgspec.json.encode(ROW | {"id": n}) for n in range(ROWS)})
    plain, near, small = (RowCache("inv", url=url, near=rows) for rows in (0, ROWS, 1))
    for cache in (near, small):
        wait_until(lambda cache=cache: cache.get("0") and cache.near_statistics().rows, "the near cache is on")
    near.get_many([str(n) for n in range(ROWS)])
    cases = {
        "GET and decode, bare": (lambda row_id: decode(client.get(f"inv:{row_id}")), READS // 10),
        "RowCache": (plain.get, READS // 10),
        "near cache, hit": (near.get, READS),
        "near cache, miss": (small.get, READS // 10),
    }
    rounds = [{name: measure(*case) for name, case in cases.items()} for _ in range(ROUNDS)]
    for name in cases:
        cost_us = statistics.median(costs[name] for costs in rounds)
        ratio = statistics.median(costs["GET and decode, bare"] / costs[name] for costs in rounds)
        print(f"{name:22} {cost_us:7.2f} µs   {ratio:6.2f} times as fast as a GET", flush=True)
    for cache in (plain, near, small):
        cache.close()
    client.close()


def read_until_told(url, pause_s):
    """Read row 1 until it is negative; print when each value was last seen, and what the near cache has done."""
    cache, seen, last, before = RowCache("inv", url=url, near=10), {}, None, 0
    wait_until(lambda: cache.get("1") and cache.near_statistics().hits, "the near cache is on")
    print("ready", flush=True)
    while (stock := cache.get("1")["stock"]) >= 0:
        seen[stock] = time.monotonic()
        if stock != last:
            last, before = stock, cache.near_statistics().invalidations
        if pause_s:
            time.sleep(pause_s)
    # One for the value that ends this.
    print(json.dumps({"seen": seen, "unchanged": cache.near_statistics().invalidations - before - 1}))
    cache.close()


class Worker:
    """Commits values of row 1, as a worker does."""

    def __init__(self, url):
        self._client = connect(url, "test")
        self._schedule = Schedule(self._client, Table("inv", "inventory"))
        self._schedule.put_rows({"1": (1000, 0)})

    def commit(self, stock):
        """Commit a value; gives when it was sent, and whether it was a change."""
        claim = self._schedule.lease_rows(["1"], 30)
        value = msgspec.json.encode(ROW | {"stock": stock})
        sent_at = time.monotonic()
        return sent_at, self._schedule.commit_rows(claim, {"1": value}).refreshed == 1

    def close(self):
        self._client.close()


def measure_promise(url, readers, commits, pause_s):
    """Print for how long old values were seen."""
    worker = Worker(url)
    worker.commit(0)
    command = [sys.executable, "-m", "stress.near_cache", "--read", url, "--pause", str(pause_s)]
    processes = [
        subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True) for _ in range(readers)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * readers
    sent_at = {}
    for stock in range(1, commits + 1):
        sent_at[stock], is_changed = worker.commit(stock)
        assert is_changed
        time.sleep(COMMIT_EVERY_S)
    changed = sum(worker.commit(commits)[1] for _ in range(commits))
    time.sleep(COMMIT_EVERY_S)
    worker.commit(-1)
    found = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    worker.close()
    old_ms = sorted(
        max(1000 * (one["seen"][str(stock - 1)] - sent_at[stock]) for one in found if str(stock - 1) in one["seen"])
        for stock in sent_at
        if any(str(stock - 1) in one["seen"] for one in found)
    )
    p50, p99 = statistics.median(old_ms), old_ms[int(len(old_ms) * 0.99)]
    reading = f"every {1000 * pause_s:g} ms" if pause_s else "without pause"
    print(
        f"{readers} processes read {reading}: of {len(old_ms)} commits, the last one saw the old value for"
        f" {p50:.2f} ms (p50), {p99:.2f} ms (p99), {old_ms[-1]:.2f} ms at most;"
        f" {commits} refreshes without a change ({changed} wrote) took"
        f" {sum(one['unchanged'] for one in found)} rows away",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--read", help="URL; be one of the readers")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two reads of a reader")
    options = parser.parse_args()
    if options.read:
        read_until_told(options.read, options.pause)
        return
    with Valkey() as valkey:
        measure_cost(valkey.url)
        measure_promise(valkey.url, options.readers, options.commits, pause_s=0.0002)
        measure_promise(valkey.url, 1, options.commits, pause_s=0.0)


if __name__ == "__main__":
    main()
