"""Connections of an event loop: given at once while there are some, waited for else, and lost to nobody."""

import asyncio

import pytest
import redis
import redis.asyncio
from functional.reader.test_reader import commit

from rowcache_tasks import AsyncRowCache, CacheError
from rowcache_tasks.reader.pool import CONNECTS_UNDER_LOCK, WaitingPool


@pytest.fixture
def pooled(valkey):
    """Run a coroutine function with a pool of so many connections."""

    def run(scene, max_connections=1, timeout=20.0):
        async def run_in_loop():
            pool = WaitingPool.from_url(valkey.url_for(9), max_connections=max_connections, timeout=timeout)
            try:
                return await scene(pool)
            finally:
                await pool.aclose()

        return asyncio.run(run_in_loop())

    return run


async def until_they_wait(tasks):
    """Let tasks that wait for nothing but a connection come to that."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


def test_hundreds_of_tasks_read_with_fifty_connections(valkey, client, schedule):
    commit(schedule, {"42": b'{"id":42}'})

    def readers():
        return {entry["id"] for entry in client.client_list() if entry["name"] == "rowcache-reader"}

    before = readers()  # of other tests, not freed yet

    async def read():
        cache = AsyncRowCache("inv", url=valkey.url_for(9), timeout=60.0)
        rows = await asyncio.gather(*(cache.get("42") for _ in range(400)))
        after = await asyncio.to_thread(readers)
        await cache.close()
        return rows, len(after - before)

    rows, connections = asyncio.run(read())
    assert rows == [{"id": 42}] * 400
    assert 1 < connections <= 50


def test_who_waits_gets_the_connection_that_is_given_back(pooled):
    async def scene(pool):
        mine = await pool.get_connection()
        others = [asyncio.create_task(pool.get_connection()) for _ in range(3)]
        await until_they_wait(others)
        got = []
        for other in others:
            await pool.release(mine)
            mine = await other
            got.append(mine)
        await pool.release(mine)
        return got

    assert len(set(pooled(scene))) == 1


def test_task_that_is_cancelled_while_it_waits_takes_nothing_away(pooled):
    async def scene(pool):
        mine = await pool.get_connection()
        gone, stays = (asyncio.create_task(pool.get_connection()) for _ in range(2))
        await until_they_wait([gone, stays])
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await pool.release(mine)
        assert await stays is mine
        await pool.release(mine)
        assert await pool.get_connection() is mine

    pooled(scene)


def test_connections_that_cannot_be_opened_use_nothing_up(tmp_path):
    async def scene():
        pool = WaitingPool.from_url(f"unix://{tmp_path}/nobody", max_connections=2, timeout=0.01)
        for _ in range(5):
            with pytest.raises(redis.ConnectionError, match="nobody"):
                await pool.get_connection()

    asyncio.run(scene())


@pytest.mark.skipif(CONNECTS_UNDER_LOCK, reason="a pool of redis-py has maintenance since 7.2")
def test_who_waited_for_a_maintenance_of_the_pool_waits_for_a_connection_then(pooled):
    async def scene(pool):
        async with pool._lock:
            both = [asyncio.create_task(pool.get_connection()) for _ in range(2)]
            await until_they_wait(both)
        (first,), (second,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await pool.release(await first)
        assert await second is await first

    pooled(scene)


def test_who_waits_for_too_long_hears_that_all_are_in_use(pooled, schedule):
    commit(schedule, {"42": b"{}"})

    async def scene(pool):
        cache = AsyncRowCache("inv", client=redis.asyncio.Redis.from_pool(pool), namespace="")
        taken = await pool.get_connection()
        with pytest.raises(CacheError, match="inv: all connections are in use: try again, or allow more"):
            await cache.get("42")
        await pool.release(taken)
        assert await cache.get("42") == {}

    pooled(scene, timeout=0.05)
