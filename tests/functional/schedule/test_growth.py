"""Growth of a table to more partitions, on one server and on a cluster."""

import asyncio
import json
import math
from dataclasses import replace

import pytest
from support.cluster import Cluster

from rowcache_tasks import AsyncRowCache, ReadThrough, Refresher, RowCache
from rowcache_tasks.config.settings import Table, parse_settings
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.growth import Growth, UnsettledError
from rowcache_tasks.schedule.layout import check_layout, note_layout
from rowcache_tasks.schedule.process import WORKER, ProcessNote
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.grow import begin_growth, move_rows

ONE = Table("inv", "inventory", partitions=8, growing_from=1)
TWO = Table("inv", "inventory", partitions=16, growing_from=8)
BIG = b'{"v": "%s"}' % (b"x" * 300_000)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as nodes:
        yield nodes


@pytest.fixture(params=["one server", "cluster"])
def grown(request, client):
    """A client, the settings and the table: from 1 to 8 partitions of one server, from 8 to 16 of a cluster."""
    table, url = ONE, request.getfixturevalue("valkey").url_for(9)
    if request.param == "cluster":
        cluster = request.getfixturevalue("cluster")
        for node in cluster.clients:
            node.flushall()
        table, url = TWO, cluster.url
    tables = {"inv": {"table": "inventory", "partitions": table.partitions, "growing_from": table.growing_from}}
    settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables})
    with connect(url, "test") as servers:
        yield servers, settings, table


def state_of(client, table, row_id):
    (state,) = read_row_states(client, table, [row_id])
    return state


def test_a_row_moves_with_all_that_is_known_of_it(grown):
    client, settings, table = grown
    old, now = Schedule(client, table.old), client.time()[0]
    old.put_rows({"late": (10.0, -3.0), "soon": (10.0, 5.0), "never": (10.0, math.inf), "failing": (10.0, 0.0)})
    old.put_rows(
        {"taken": (10.0, -9.0), "big 1": (10.0, 1.0), "big 2": (10.0, 1.0), "big 3": (10.0, 1.0)}, f"{now - 9}"
    )
    old.drop_rows(["dropped"], f"{now - 5}")

    def claim(row_id):
        part = old.parts[table.old.part_of(row_id).place]
        return part, part.lease_rows([row_id], 30.0)

    for row_id, value in {"soon": b'{"v": 1}', "big 1": BIG, "big 2": BIG, "big 3": BIG}.items():
        part, lease = claim(row_id)
        part.commit_rows(lease, {row_id: value})
    failing, lease = claim("failing")
    failing.release_rows(lease, {"failing": "cannot be read"}, Backoff())
    part, in_flight = claim("taken")
    filled = table.old.part_of("filled").keys
    client.set(filled.value("filled"), b'{"v": 2}', px=50_000)
    client.zadd(filled.schedule, {"filled": client.time()[0] + 60})
    before = {
        row_id: state_of(client, table.old, row_id)
        for row_id in ("late", "soon", "never", "failing", "filled", "big 2")
    }

    growth = begin_growth(client, settings, table)
    counts = []
    assert move_rows(client, growth, counts.append) == counts[-1] == 9

    for row_id, was in before.items():
        found = state_of(client, growth.new, row_id)
        assert (found.delay, found.value, found.changed, found.failure) == (
            was.delay,
            was.value,
            was.changed,
            was.failure,
        ), row_id
        assert found.due_in == was.due_in or found.due_in == pytest.approx(was.due_in, abs=60), row_id
        assert found.age is was.age is None or 0 <= found.age - was.age < 60, "no value is younger than it was"
    assert 0 < state_of(client, growth.new, "filled").expires_s <= 50
    assert state_of(client, growth.new, "taken").due_in <= 0, "its refresh is refused, so it is due"
    assert part.commit_rows(in_flight, {"taken": b"{}"}).dropped == 1
    assert Schedule(client, growth.new).put_rows({"dropped": (5.0, 0.0)}, f"{now - 7}").ignored == 1
    for part in table.old.parts:
        keys = part.keys
        assert not client.exists(keys.schedule), "nothing is left"
        assert [*client.scan_iter(f"{keys.value_prefix}*")] == []


def test_growth_begins_when_all_processes_look_at_both_places(grown):
    client, settings, table = grown
    plain = replace(table, growing_from=0)
    with pytest.raises(ArgumentError, match="has no 'growing_from': set the new number as 'partitions'"):
        begin_growth(client, settings, plain)
    assert check_layout(client, table.old) == check_layout(client, table) == "", (
        "old and new processes run side by side"
    )

    others = parse_settings(
        {"rowcache_redis_url": settings.redis_url, "rowcache_tables": {"inv": {"table": "inventory", "partitions": 2}}}
    )
    note = ProcessNote(others, WORKER, "celery@old")
    note.write()
    with pytest.raises(ConfigError, match=r"celery@old.*has 2 partitions.*restart it with"):
        begin_growth(client, settings, table)
    note.erase()
    TableState(client, table).pause_table(is_paused=True)
    with pytest.raises(ConfigError, match="inv is paused"):
        begin_growth(client, settings, table)
    TableState(client, table).pause_table(is_paused=False)

    Schedule(client, table.old).put_rows({"1": (10.0, 0.0)})
    growth = begin_growth(client, settings, table)
    assert check_layout(client, table) == ""
    assert "rows are moved to" in check_layout(client, plain)
    assert f"its keys in Redis have {table.partitions}" in check_layout(client, table.old)
    assert begin_growth(client, settings, table).count_left() == 1, "the same command goes on"
    assert move_rows(client, growth, print) == 1
    assert check_layout(client, plain) == check_layout(client, table) == ""

    keys = table.old.part_of("2").keys
    client.zadd(keys.delay, {"2": 10.0})
    client.zadd(keys.schedule, {"2": 0.0})
    assert move_rows(client, begin_growth(client, settings, plain), print) == 1, "what was written by the old keys"


def test_changes_and_requests_are_made_where_the_rows_are(grown):
    client, settings, table = grown
    schedule, state = Schedule(client, table), TableState(client, table)
    schedule.put_rows({"1": (10.0, 10.0), "2": (10.0, 10.0), "3": (10.0, 10.0)})
    assert TableState(client, table.old).count_rows() == 3, "at the old places as long as no row is moved"
    growth = begin_growth(client, settings, table)
    with Refresher(
        url=settings.redis_url,
        tables={"inv": {"table": "inventory", "partitions": table.partitions, "growing_from": table.growing_from}},
    ) as refresher:
        assert refresher.refresh_now("inv", ["1", "9"]) == 1
    assert state_of(client, growth.new, "1").due_in <= 0
    assert state_of(client, growth.old, "1").due is None
    assert schedule.drop_rows(["2"]).applied == 1
    assert [part.table.place for part, _ in schedule.divide(["3"])] == [growth.new.part_of("3").place]
    assert growth.count_left() == 0
    assert state.count_rows() == 2

    assert state.pause_table(is_paused=True)
    assert state.paused_s() is not None
    assert state.pause_table(is_paused=False)
    assert state.paused_s() is None
    part = growth.old.part_of("3")
    client.zadd(part.keys.delay, {"3": 10.0})
    client.zadd(part.keys.schedule, {"3": 0.0})
    claim, _ = schedule.parts[part.place].claim_rows(10, 30.0)
    assert claim.row_ids == [], "a part that rows have left stays closed"


def test_a_row_that_changes_all_the_time_is_not_lost(client):
    growth = Growth(client, ONE)
    Schedule(client, ONE.old).put_rows({"1": (10.0, 0.0)})

    class Changing(Growth):
        def give(self, row_ids):
            found = super().give(row_ids)
            client.zincrby("schedule:", 1.0, "1")
            return found

    with pytest.raises(UnsettledError, match="1 rows of inv change all the time"):
        Changing(client, ONE).move(["1"])
    assert client.zscore("delay:", "1") == 10.0
    assert growth.move(["1"]) == 1


def test_readers_find_a_row_at_either_place_and_fill_without_the_cache(grown, sqlite):
    client, settings, table = grown
    sqlite.run("CREATE TABLE inv (id INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO inv VALUES (7, 3)")
    growth = Growth(client, table)
    schedule = Schedule(client, table.old)
    schedule.put_rows({"1": (10.0, 0.0), "2": (10.0, 0.0)})
    for row_id in ("1", "2"):
        part = schedule.parts[table.old.part_of(row_id).place]
        part.commit_rows(part.lease_rows([row_id], 30.0), {row_id: b'{"v": %s}' % row_id.encode()})
    note_layout(client, growth.new, {"from": table.growing_from, "moving": True})
    growth.move(["2"])
    options = {"url": settings.redis_url, "partitions": table.partitions, "growing_from": table.growing_from}
    with RowCache("inv", **options, read_through=ReadThrough(database_url=sqlite.url)) as cache:
        assert cache.get("1") == {"v": 1}
        assert cache.get_many(["2", "1", "3"]) == {"2": {"v": 2}, "1": {"v": 1}, "3": None}
        assert cache.get_with_age("1").age < 60 > cache.age("2")
        assert (cache.exists("1"), cache.exists("2"), cache.exists("3")) == (True, True, False)
        assert cache.get("7", fill=True) == {"id": 7, "v": 3}
        assert cache.get("7") is None, "it is not written while rows move"

    async def read():
        async with AsyncRowCache("inv", **options) as cache:
            return await cache.get("1"), await cache.get("2"), await cache.get("3")

    assert asyncio.run(read()) == ({"v": 1}, {"v": 2}, None)
    assert json.loads(client.get("layout:"))["moving"]
