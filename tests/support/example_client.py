"""Load generator for the services of examples/ that checks every answer.

    PYTHONPATH=tests python -m support.example_client URL [--rows 500] [--connections 32] [--seconds 3] [--mixed]

The price of an item follows from its id and its quantity, and the quantity only grows. So an answer is right when its
price fits and its quantity is no smaller than one seen before the request. Prints one line of JSON: the number
of answers, the wrong ones, and the number of items that were seen changed.
"""

import argparse
import asyncio
import json
import random
import time

import aiohttp
from support.example_service import price_of

MISSING = 10**9
"""Id of an item that does not exist."""
PATIENCE_S = 60
"""It goes on for so long until a change is seen."""


class Client:
    """Connections that each send one request after another."""

    def __init__(self, options):
        self._options = options
        self._seen = dict.fromkeys(range(1, options.rows + 1), 0)
        self.answers = 0
        self.wrong = []

    @property
    def changed(self):
        """Number of items that were seen changed."""
        return sum(quantity > 0 for quantity in self._seen.values())

    async def run(self):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
            until = time.monotonic() + self._options.seconds
            await asyncio.gather(*(self._connect(session, until) for _ in range(self._options.connections)))

    async def _connect(self, session, until):
        while time.monotonic() < until or (not self.changed and time.monotonic() < until + PATIENCE_S):
            await self._ask(session)
            self.answers += 1

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
        async with session.get(self._options.url + path, params=params) as reply:
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
    parser.add_argument("--rows", type=int, default=500, help="the items are 1 to this number")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--mixed", action="store_true", help="also request many items, and one that does not exist")
    client = Client(parser.parse_args())
    asyncio.run(client.run())
    print(json.dumps({"answers": client.answers, "wrong": client.wrong[:10], "changed": client.changed}))


if __name__ == "__main__":
    main()
