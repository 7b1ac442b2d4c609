"""Own how a reading program carries out orders: calls in a loop, with nothing in it but the call.

Knows no reader. A way that is for one row takes a row id and gives a row; one for many takes a list of them and gives
rows, or a mapping of rows. Before the first order each way is tried on all rows, and what it gives is looked at: so
everything is warm, and nobody is quick because there was nothing to read.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis

from benchmarks.programs.reading.order import ROWS, Answer, Order

ROW_IDS = [str(number) for number in range(1, ROWS + 1)]
MANY = 100
"""The row ids of the try of a way for many."""
WARM = 5
"""One call in so many is made before the clock starts."""

Read = Callable[[Any], Any]
AsyncRead = Callable[[Any], Awaitable[Any]]


def cached_rows() -> dict[str, dict[str, Any]]:
    """Give the rows as they are in the cache, for a contender that needs copies of its own."""
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    values = client.mget([f"inv:{row_id}" for row_id in ROW_IDS])
    client.close()
    return {row_id: json.loads(value) for row_id, value in zip(ROW_IDS, values, strict=True)}


class Arguments:
    """Gives what calls are made with: row ids in their order, going on where the last order has ended."""

    def __init__(self) -> None:
        self._place = 0

    def take(self, order: Order) -> list[list[Any]]:
        """Give the arguments of each thread or task."""
        calls = max(1, order.calls // order.at_once)
        return [[self._next(order.rows) for _ in range(calls)] for _ in range(order.at_once)]

    def _next(self, rows: int) -> str | list[str]:
        row_ids = [ROW_IDS[(self._place + number) % ROWS] for number in range(rows)]
        self._place = (self._place + rows) % ROWS
        return row_ids if rows > 1 else row_ids[0]


def warm(shares: list[list[Any]]) -> list[Any]:
    """Give what is read before the clock starts: a process that others have just taken turns with begins slowly."""
    return shares[0][: 1 + len(shares[0]) // WARM]


def check(way: str, row_ids: Sequence[str], rows: Any) -> None:
    """Look whether these are the rows, all ten columns of them."""
    found = list(rows.values()) if isinstance(rows, Mapping) else list(rows)
    assert len(found) == len(row_ids), f"{way} gave {len(found)} rows of {len(row_ids)}"
    for row_id, row in zip(row_ids, found, strict=True):
        columns = row if isinstance(row, Mapping) else vars(row)
        assert str(columns["id"]) == row_id, f"{way} gave {row!r} for row {row_id}"
        assert {"sku", "price", "attributes", "updated_at"} <= set(columns), f"{way} gave {row!r}"


def settle() -> None:
    """Say that orders can come. What was made so far is not looked through by the garbage collector any more."""
    gc.collect()
    gc.freeze()
    print("ready", flush=True)


def serve(one: Mapping[str, Read], many: Mapping[str, Read], prepare: Callable[[], object] | None = None) -> None:
    """Carry out orders for calls that wait, until the standard input ends; each after `prepare`, which is not timed."""
    for way, read in one.items():
        check(way, ROW_IDS, [read(row_id) for row_id in ROW_IDS])
    for way, read in many.items():
        check(way, ROW_IDS[:MANY], read(ROW_IDS[:MANY]))
    settle()
    arguments = Arguments()
    pools: dict[int, ThreadPoolExecutor] = {}
    for line in sys.stdin:
        order = Order.of(line)
        read, shares = (many if order.rows > 1 else one)[order.way], arguments.take(order)
        if prepare is not None:
            prepare()
        call(read, warm(shares))
        if order.at_once == 1:
            answer = timed(lambda read=read, share=shares[0]: call(read, share))  # type: ignore[misc]
        else:
            if order.at_once not in pools:
                pools[order.at_once] = ThreadPoolExecutor(order.at_once)
            answer = timed_threads(pools[order.at_once], read, shares)
        print(answer.as_line(), end="", flush=True)


def call(read: Read, arguments: list[Any]) -> None:
    """Make the calls."""
    for argument in arguments:
        read(argument)


def timed(work: Callable[[], object]) -> Answer:
    """Do something and give what it took."""
    processor_s, started = time.process_time(), time.perf_counter()
    work()
    return Answer(time.perf_counter() - started, time.process_time() - processor_s)


def timed_threads(pool: ThreadPoolExecutor, read: Read, shares: list[list[Any]]) -> Answer:
    """Make the calls in threads, all from one moment on."""
    barrier = threading.Barrier(len(shares) + 1)

    def work(share: list[Any]) -> None:
        barrier.wait()
        call(read, share)

    futures = [pool.submit(work, share) for share in shares]

    def run() -> None:
        barrier.wait()
        for future in futures:
            future.result()

    return timed(run)


async def serve_async(ways: Mapping[str, AsyncRead], prepare: Callable[[], Awaitable[object]] | None = None) -> None:
    """Carry out orders for calls that are awaited, for one row each, as serve() does."""
    for way, read in ways.items():
        check(way, ROW_IDS, [await read(row_id) for row_id in ROW_IDS])
    settle()
    arguments = Arguments()
    # In a thread: what else runs in the loop, such as a listener of a cache, goes on between the orders.
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = Order.of(line)
        read, shares = ways[order.way], arguments.take(order)
        if prepare is not None:
            await prepare()
        await call_async(read, warm(shares))
        processor_s, started = time.process_time(), time.perf_counter()
        if order.at_once == 1:
            await call_async(read, shares[0])
        else:
            await asyncio.gather(*(call_async(read, share) for share in shares))
        answer = Answer(time.perf_counter() - started, time.process_time() - processor_s)
        print(answer.as_line(), end="", flush=True)


async def call_async(read: AsyncRead, arguments: list[Any]) -> None:
    """Make the calls."""
    for argument in arguments:
        await read(argument)
