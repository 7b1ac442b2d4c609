"""A client that asks a service of examples/ for items, as fast as its connections can, and checks every answer.

    PYTHONPATH=tests python -m stress.load URL [--source database] [--rate 200] [--connections 32] [--mixed]

With a rate it asks so often in a second, at set times, and an answer's time counts from when it was to be asked for.

The items are those of stress.shop: the price follows from the id and the quantity, and the quantity only grows. So an
answer is right when its price fits, and when its quantity is no smaller than one that was seen before it was asked for.
Prints one line of JSON: the milliseconds of each answer, the wrong ones, and the seconds of processor time it took.
"""

import argparse
import asyncio
import json
import random
import time

import aiohttp
from stress.shop import price_of

MISSING = 10**9
"""The id of an item that does not exist."""


class Client:
    """Some connections, each of which asks for one thing after another."""

    def __init__(self, options):
        self._options = options
        self._params = {"source": options.source}
        self._seen = dict.fromkeys(range(1, options.rows + 1), 0)
        self.latencies_ms = []
        self.wrong = []

    @property
    def changed(self):
        """How many items were seen changed."""
        return sum(quantity > 0 for quantity in self._seen.values())

    async def run(self):
        count = self._options.connections
        pause = count / self._options.rate if self._options.rate else 0
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
            start = time.perf_counter()
            await asyncio.gather(*(self._connect(session, start, pause * n / count, pause) for n in range(count)))

    async def _connect(self, session, start, delay, pause):
        """Ask again and again, one question each `pause` seconds; with 0 as soon as there is an answer."""
        due = start + delay
        while (now := time.perf_counter()) < start + self._options.seconds:
            if now < due:
                await asyncio.sleep(due - now)
            await self._ask(session)
            done = time.perf_counter()
            self.latencies_ms.append(1000 * (done - (due if pause else now)))
            due += pause

    async def _ask(self, session):
        kind = random.random() if self._options.mixed else 1
        if kind < 0.05:
            await self._ask_missing(session)
        elif kind < 0.2:
            await self._ask_many(session, random.sample(range(1, self._options.rows + 1), 10))
        else:
            await self._ask_one(session, random.randint(1, self._options.rows))

    async def _ask_one(self, session, item_id):
        seen = self._seen[item_id]
        status, item = await self._get(session, f"/items/{item_id}")
        if status != 200 or not self._is_right(item_id, seen, item):
            self.wrong.append(f"item {item_id}, quantity {seen} was seen before: {status} {item}")

    async def _ask_many(self, session, item_ids):
        seen = [self._seen[item_id] for item_id in item_ids]
        status, items = await self._get(session, "/items", ids=",".join(map(str, item_ids)))
        if status != 200 or list(items) != [str(item_id) for item_id in item_ids]:
            self.wrong.append(f"items {item_ids}: {status} {items}")
        elif not all(map(self._is_right, item_ids, seen, items.values())):
            self.wrong.append(f"items {item_ids}, quantities {seen} were seen before: {items}")

    async def _ask_missing(self, session):
        status, answer = await self._get(session, f"/items/{MISSING}")
        if status != 404:
            self.wrong.append(f"item {MISSING}, which does not exist: {status} {answer}")

    async def _get(self, session, path, **params):
        async with session.get(self._options.url + path, params=self._params | params) as reply:
            return reply.status, json.loads(await reply.read())

    def _is_right(self, item_id, seen, item):
        if item is None:
            return False
        quantity = item["quantity"]
        self._seen[item_id] = max(self._seen[item_id], quantity)
        return item["id"] == item_id and item["price"] == price_of(item_id, quantity) and quantity >= seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--source", default="cache", choices=["cache", "database"])
    parser.add_argument("--rows", type=int, default=500, help="the items are 1 to so many")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0, help="questions a second; 0: as many as are answered")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--mixed", action="store_true", help="ask for many items, and for one that does not exist, too")
    client = Client(parser.parse_args())
    used, started = time.process_time(), time.perf_counter()
    asyncio.run(client.run())
    measured = {
        "latencies_ms": [round(latency, 2) for latency in client.latencies_ms],
        "wrong": client.wrong[:10],
        "changed": client.changed,
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - used,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
