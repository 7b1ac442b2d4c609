"""Readers and requests of tables with partitions, on one server and on a cluster whose slots move."""

import asyncio
import json
import os
import signal

import pytest
from support.cluster import Cluster
from support.reader_kind import READER_KINDS
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import AsyncRowCache, Refresher, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import CacheError
from rowcache_tasks.keys import slot_of
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.reader.pool import MAX_ASYNC_CONNECTIONS
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

TABLE = Table("inv", "inventory", partitions=8)
ROWS = [str(number) for number in range(30)]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as nodes:
        yield nodes


@pytest.fixture(params=["one server", "cluster"])
def url(request, client, valkey):
    """Address of one server, and of a cluster, with the ROWS cached."""
    if request.param == "one server":
        found = valkey.url_for(9)
    else:
        cluster = request.getfixturevalue("cluster")
        found = cluster.url
        for node in cluster.clients:
            node.flushall()
    with connect(found, "test") as servers:
        fill(servers)
    return found


def fill(servers):
    schedule = Schedule(servers, TABLE)
    schedule.put_rows(dict.fromkeys(ROWS, (10.0, 0.0)))
    for part in schedule.parts.values():
        claim, _ = part.claim_rows(100, 30)
        part.commit_rows(claim, {row_id: json.dumps({"id": row_id}).encode() for row_id in claim.row_ids})


@pytest.fixture
def open_cache(reader_kind):
    opened = []

    def build(url, **options):
        opened.append(READER_KINDS[reader_kind]("inv", url=url, partitions=8, **options))
        return opened[-1]

    yield build
    for cache in opened:
        cache.end()


def test_rows_of_all_parts_are_read_in_the_order_asked(url, open_cache):
    cache = open_cache(url)
    asked = [*reversed(ROWS), "absent"]
    rows = {row_id: {"id": row_id} for row_id in ROWS}
    assert list(cache.get_many(asked).items()) == [(row_id, rows.get(row_id)) for row_id in asked]
    assert list(cache.get_many(asked, max_age=60)) == asked
    assert cache.get("7") == {"id": "7"}
    assert cache.get("absent") is None
    assert (cache.exists("7"), cache.exists("absent")) == (True, False)
    assert 0 <= cache.age("7") < 60
    found = cache.get_with_age("7")
    assert (found.row, found.is_stale) == ({"id": "7"}, False)


def test_rows_are_read_while_a_slot_moves_and_after(cluster, open_cache):
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as servers:
        fill(servers)
    cache = open_cache(cluster.url)
    part, some = TABLE.divide(ROWS)[0]
    slot, source = slot_of(part.tag), cluster.owner(part.keys.schedule)
    target = (source + 1) % 3
    assert len(some) > 1
    for begin in (cluster.begin_move, cluster.move_keys, cluster.move_keys):
        begin(slot, source, target, *([2] if begin == cluster.move_keys else []))
        assert None not in cache.get_many(ROWS).values()
        assert cache.get(some[0]) == {"id": some[0]}
    while cluster.move_keys(slot, source, target):
        pass
    wrong = next(row_id for row_id in map(str, range(100, 200)) if TABLE.part_of(row_id) == part)
    with connect(cluster.url, "test") as servers:
        servers.rpush(part.keys.value(wrong), "no row")
    assert (cache.get(wrong), cache.get_many([wrong, some[0]])) == (None, {wrong: None, some[0]: {"id": some[0]}})
    cluster.end_move(slot, target)
    assert None not in cache.get_many(ROWS, max_age=60).values()


def keep(cache, row_id, row):
    """Read a row until it comes out of the near cache."""

    def is_kept():
        hits = cache.near_statistics().hits
        return cache.get(row_id) == row and cache.near_statistics().hits > hits

    wait_until(is_kept, f"row {row_id} is kept")


def test_near_cache_serves_no_row_of_a_slot_that_another_node_may_change(cluster, open_cache):
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as servers:
        fill(servers)
        cache = open_cache(cluster.url, near=1000)
        wait_until(lambda: None not in cache.get_many(ROWS).values() and cache.near_statistics().rows == 30, "all kept")
        assert list(cache.get_many(ROWS).values()) == [{"id": row_id} for row_id in ROWS]
        part, some = TABLE.divide(ROWS)[0]
        new = next(row_id for row_id in map(str, range(100, 200)) if TABLE.part_of(row_id) == part)
        keep(cache, new, None)
        slot, source = slot_of(part.tag), cluster.owner(part.keys.schedule)
        target = (source + 1) % 3
        cluster.begin_move(slot, source, target)
        while cluster.move_keys(slot, source, target):
            pass
        servers.set(part.keys.value(new), b'{"id": "new"}')  # at the new node, of which the old one hears nothing
        wait_until(lambda: cache.get(new) == {"id": "new"}, "the row is seen while the slot moves")
        cluster.end_move(slot, target)
        keep(cache, new, {"id": "new"})
        keep(cache, some[0], {"id": some[0]})
        cluster.clients[target].set(part.keys.value(new), b'{"id": "changed"}')
        wait_until(lambda: cache.get(new) == {"id": "changed"}, "the new node sends its changes")


def test_tasks_that_are_cancelled_or_find_no_connection_harm_no_other_read(valkey):
    async def scene(lost):
        cache = AsyncRowCache("inv", url=f"{valkey.url_for(9)} {lost.url}", partitions=8, timeout=10)
        await cache.get_many(ROWS)
        os.kill(lost.pid, signal.SIGSTOP)
        try:
            tasks = [asyncio.ensure_future(cache.get_many(ROWS)) for _ in range(20)]
            await asyncio.sleep(0)  # each has asked the first server, and waits for the other one
            for task in tasks:
                await asyncio.wait([task], timeout=0.01)
                task.cancel()
        finally:
            os.kill(lost.pid, signal.SIGCONT)
        assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
        for _ in range(20):
            assert list((await cache.get_many(ROWS)).items()) == [(row_id, {"id": row_id}) for row_id in ROWS]
        pool = cache._here().client.serving(TABLE.part_of("7").keys.value("7")).client.connection_pool
        taken = [await pool.get_connection() for _ in range(MAX_ASYNC_CONNECTIONS)]
        pool.timeout = 0.01
        for read in (cache.get("7"), cache.get_many(["7"]), cache.get_many(ROWS)):
            with pytest.raises(CacheError, match="all connections are in use"):
                await read
        pool.timeout = 10
        for connection in taken:
            await pool.release(connection)
        assert await cache.get("7") == {"id": "7"}
        await cache.close()

    with Valkey() as lost:
        with connect(f"{valkey.url_for(9)} {lost.url}", "test") as servers:
            servers.flushdb()
            fill(servers)
        asyncio.run(scene(lost))


def test_fill_marks_and_writes_rows_of_all_parts(url):
    fills = FillScripts(TABLE, ReadThrough())
    new = [f"new {number}" for number in range(20)]
    with connect(url, "test") as servers:
        replies = [call.run(servers) for call in fills.begin([*new, "7"], b"token", None)]
        state = fills.read_begin([*new, "7"], replies)
        assert (sorted(state.ours), [*state.cached]) == (sorted(new), ["7"])
        for call in fills.end(b"token", state, dict.fromkeys(new, b'{"id": 0}'), None):
            call.run(servers)
    with RowCache("inv", url=url, partitions=8) as cache:
        assert cache.get_many(new) == {row_id: {"id": 0} for row_id in new}


def test_refresher_makes_rows_of_all_parts_due(url):
    with Refresher(url=url, tables={"inv": {"table": "inventory", "partitions": 8}}) as refresher:
        assert refresher.refresh_now("inv", [*ROWS, "absent"]) == len(ROWS)
    with connect(url, "test") as servers:
        parts = Schedule(servers, TABLE).parts.values()
        assert sum(len(part.claim_rows(100, 30)[0].row_ids) for part in parts) == len(ROWS)


def is_refused(cache):
    try:
        cache.get_many(ROWS)
    except CacheError:
        return True
    return False


def test_rows_of_servers_that_answer_are_read_while_one_is_away(open_cache):
    with Cluster(3) as cluster, connect(cluster.url, "test") as servers:
        fill(servers)
        cache, near = open_cache(cluster.url), open_cache(cluster.url, near=100)
        cache.get_many(ROWS)
        wait_until(lambda: near.get_many(ROWS) and near.near_statistics().rows == 30, "all rows are kept")
        lost = cluster.owner(TABLE.parts[0].keys.schedule)
        kept = [i for part, some in TABLE.divide(ROWS) if cluster.owner(part.keys.schedule) != lost for i in some]
        cluster.servers[lost].kill()
        for _ in range(4):
            with pytest.raises(CacheError, match="does not answer"):
                cache.get_many(ROWS)
        wait_until(lambda: is_refused(near), "rows of the lost node are forgotten")
        for reader in (cache, near):
            assert list(reader.get_many(kept).values()) == [{"id": row_id} for row_id in kept]
