"""A table without partitions grows to eight while rows are refreshed, changed and read, and its mover is killed."""

import json
import threading

import pytest
from support.waiting import wait_until

from rowcache_tasks import RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.row_state import read_row_states

pytestmark = pytest.mark.acceptance

HOT, COLD = 300, 4000
"""Rows that are refreshed each second, and others."""
TABLE = Table("inv", "inventory", partitions=8, growing_from=1)
SETTINGS = """
rowcache_tables = {"inv": {"table": "inventory", "partitions": 8, "growing_from": 1}}
"""
TASKS = "from rowcache_tasks.tasks import schedule_row, unschedule_row; "


class Watcher:
    """Reads rows all the time; notes those that were not found, or went back."""

    def __init__(self, url, row_ids):
        self.wrong = []
        self._cache, self._row_ids = RowCache("inv", url=url, partitions=8, growing_from=1), row_ids
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()
        self._cache.close()

    def _watch(self):
        seen = dict.fromkeys(self._row_ids, 0)
        while not self._is_over.is_set():
            for row_id, row in self._cache.get_many(self._row_ids).items():
                if row is None or row["stock"] < seen[row_id]:
                    self.wrong.append((row_id, row, seen[row_id]))
                else:
                    seen[row_id] = row["stock"]


def test_rows_are_read_refreshed_and_changed_while_they_move_and_the_mover_is_killed(deployment):
    hot = [str(number) for number in range(1, HOT + 1)]
    client, new = deployment.client, TABLE.parts[:8]
    deployment.schedule.put_rows(dict.fromkeys(hot, (1.0, 0.0)))
    deployment.schedule.put_rows({str(1000 + number): (3600.0, 3600.0) for number in range(1, COLD + 1)})
    deployment.sql("INSERT INTO inventory VALUES (9999, 'of a foreign client', 0)")
    deployment.configure(SETTINGS)
    deployment.start_beat()
    deployment.start_worker()

    def grow(name, *options):
        login = deployment.env_of("worker")["ROWCACHE_REDIS_URL"]
        return deployment.start(name, "rowcache", "grow", "inv", *options, ROWCACHE_REDIS_URL=login)

    def are_fresh(row_ids, stock):
        rows = read_row_states(client, TABLE, row_ids)
        return all(row.value and json.loads(row.value)["stock"] >= stock for row in rows)

    def count():
        return sum(client.zcard(part.keys.schedule) for part in new)

    wait_until(lambda: are_fresh(hot, 0), "rows are refreshed at their old places")
    assert count() == 0

    with Watcher(deployment.valkey.url, hot[10:60]) as watcher:
        deployment.sql("UPDATE inventory SET stock = 1")
        mover = grow("killed")
        wait_until(lambda: count() > HOT or mover.poll() is not None, "some rows have moved")
        mover.kill()
        assert count() + client.zcard("schedule:") >= HOT + COLD, "no row is lost"
        wait_until(lambda: are_fresh(hot, 1), "rows are refreshed where they are")

        client.zadd("delay:", {"9999": 1.0, "3": 5.0})  # a client with the old keys
        client.zadd("schedule:", {"9999": 0.0, "3": 0.0})
        deployment.run(TASKS + "schedule_row.delay('inv', 1, 2); unschedule_row.delay('inv', 2)")
        deployment.sql("UPDATE inventory SET stock = 2")
        mover = grow("mover", "--json")
        assert mover.wait(60) == 0, deployment.log("mover")
        wait_until(lambda: are_fresh([*hot[:1], *hot[2:], "9999"], 2), "all rows are refreshed at the new places")
        wait_until(lambda: count() == HOT + COLD, "row 2 is dropped, and 9999 was added")
    assert watcher.wrong == []

    assert client.zcard("schedule:") == client.zcard("delay:") == 0
    assert count() == sum(client.zcard(part.keys.delay) for part in new) == HOT + COLD
    one, two, three = read_row_states(client, TABLE, ["1", "2", "3"])
    assert (one.delay, two.delay, two.value, three.delay) == (2.0, None, None, 5.0)
    assert json.loads(deployment.log("mover").splitlines()[-1])["partitions"] == 8
    assert "moving" not in json.loads(client.get("layout:"))
