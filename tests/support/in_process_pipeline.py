"""Dispatcher and worker of two small tables in this process."""

import json
import time

import redis

from rowcache_tasks import RowCache, tasks
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.claim import to_messages

TABLES = {"inv": {"table": "inventory"}, "note": {"table": "note", "namespace": "note"}}
KEYS = {"inv": Keys.of(""), "note": Keys.of("note")}
LEASE_S = 1


class InProcessPipeline:
    """Claims and refreshes the rows 1 and 2 of two tables; keeps the Redis errors that a worker would log."""

    def __init__(self, client, runtime, database):
        self.client, self.database = client, database
        self.errors = []
        schedules = [runtime.schedule(name) for name in TABLES]
        limits = Limits(batch_size=100, lease_s=LEASE_S)
        self.dispatcher = Dispatcher(client, schedules, self, limits)
        self.caches = {name: RowCache(name) for name in TABLES}
        self.schedule("inv", {"1": 100, "2": 100})
        self.schedule("note", {"1": 100, "2": 100})
        self.wait_for_stock("inv", 0)
        self.wait_for_stock("note", 0)

    def close(self):
        self.dispatcher.close()
        for cache in self.caches.values():
            cache.close()

    def send(self, table, claims):
        """Run the task at once, and keep its error."""
        row_ids, fields = json.loads(json.dumps(to_messages(claims)))
        try:
            tasks.refresh_row(table, row_ids, **fields)
        except redis.RedisError as error:
            self.errors.append(error)

    def queue_length(self):
        return 0

    def run(self, is_done=lambda: False, timeout_s=90.0):
        """Dispatch until is_done() or the timeout; return the last result of is_done()."""
        until = time.monotonic() + timeout_s
        while not (done := is_done()) and time.monotonic() < until:
            self.dispatcher.run(time.monotonic() + 0.05)
        return done

    def schedule(self, table, delays):
        tasks.schedule_rows(table, delays)

    def sell(self, stock):
        """Change all rows in the database and touch them in the cache."""
        for table in ("inventory", "note"):
            self.database.execute(f"UPDATE {table} SET stock = ?", (stock,))
        for table in TABLES:
            try:
                tasks.refresh_now(table, ["1", "2"])
            except redis.ResponseError as error:
                self.errors.append(error)

    def wait_for_stock(self, table, stock):
        def is_cached():
            return [row and row["stock"] for row in self.caches[table].get_many(["1", "2"]).values()] == [stock, stock]

        assert self.run(is_cached), f"{table} is refreshed"
