"""Read-through with many callers, processes and event loops: one of them reads, none depends on another's life."""

import asyncio
import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.concurrent_readers import ReaderProcess
from support.project import ROOT
from support.reader_kind import READER_KINDS
from support.script_calls import script_calls
from support.waiting import wait_until

from rowcache_tasks import AsyncRowCache, ReadThrough, RowCache

TIMEOUT_S = 20.0
"""Of the database: nothing here takes so long."""
ONE = {"id": 1, "name": "one", "share": 1.0}
TWO = {"id": 2, "name": "two", "share": 2.0}


@pytest.fixture
def options(valkey, client, inv_table):
    read_through = ReadThrough(database_url=inv_table.url, timeout=TIMEOUT_S)
    return {"url": valkey.url_for(9), "timeout": 20, "read_through": read_through}


@pytest.fixture
def background():
    with ThreadPoolExecutor() as pool:
        yield pool


def test_200_callers_in_4_processes_cause_one_select(reader_kind, valkey, client, inv_table):
    crowds = [
        ReaderProcess(reader_kind, valkey.url_for(9), database_url=inv_table.url, timeout=TIMEOUT_S) for _ in range(4)
    ]
    with inv_table.locked():
        for crowd in crowds:
            crowd.ask(["1"] * 50)
        for crowd in crowds:
            crowd.expect("asked")
        wait_until(inv_table.waiting, "one of them reads")
    for crowd in crowds:
        assert crowd.answers() == [ONE] * 50
    assert inv_table.reads() == 1


def test_reader_that_is_killed_delays_the_others_until_its_note_expires(
    reader_kind, options, valkey, inv_table, client, background
):
    cache = READER_KINDS[reader_kind]("inv", **options)
    crowd = ReaderProcess(reader_kind, valkey.url_for(9), database_url=inv_table.url, timeout=TIMEOUT_S)
    with inv_table.locked():
        crowd.ask(["1"])
        wait_until(inv_table.waiting, "the row is read")
        waiting = background.submit(cache.get, "1", fill=True)
        crowd.kill()
        assert 0 < client.pttl("fill:inv:1") <= 1.5 * TIMEOUT_S * 1000
    assert not waiting.done()
    client.pexpire("fill:inv:1", 1)
    assert waiting.result(60) == ONE
    cache.end()


def test_fill_goes_on_when_the_task_that_asked_is_cancelled(options, client, inv_table):
    async def run():
        cache = AsyncRowCache("inv", **options)
        first = asyncio.create_task(cache.get("1", fill=True))
        await asyncio.to_thread(wait_until, inv_table.waiting, "the row is read")
        others = [asyncio.create_task(cache.get("1", fill=True)) for _ in range(10)]
        await asyncio.sleep(0)
        first.cancel()
        lock.rollback()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        await cache.close()
        return answers

    with inv_table.locked() as lock:
        first, *others = asyncio.run(run())
    assert isinstance(first, asyncio.CancelledError)
    assert others == [ONE] * 10
    assert inv_table.reads() == 1


def test_cache_fills_in_one_event_loop_after_the_other(options, client, inv_table):
    cache = AsyncRowCache("inv", **options)

    async def read(row_id):
        try:
            return await cache.get(row_id, fill=True)
        finally:
            await cache.close()

    assert [asyncio.run(read(row_id)) for row_id in ("1", "2", "1")] == [ONE, TWO, ONE]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_event_loops_that_end_without_close_leave_no_connections(options, client):
    cache = AsyncRowCache("inv", **options)
    for _ in range(20):
        asyncio.run(cache.get("1"))
    gc.collect()
    assert [entry["name"] for entry in client.client_list()].count("rowcache-reader") < 5
    asyncio.run(cache.close())
    del cache
    gc.collect()


def test_forked_child_fills_with_connections_of_its_own(options, client, inv_table):
    cache = RowCache("inv", **options)
    assert cache.get("1", fill=True) == ONE
    child = os.fork()
    if child == 0:
        os._exit(0 if cache.get("2", fill=True) == TWO else 1)
    assert os.waitpid(child, 0)[1] == 0
    client.delete("inv:1")
    assert cache.get_many(["1", "2"], fill=True) == {"1": ONE, "2": TWO}
    assert inv_table.reads() == 3


def test_first_fill_of_a_process_has_opened_the_database_before_it_marks_the_row(
    reader_kind, valkey, client, inv_table
):
    client.set("inv:2", '{"id":2}')
    shown = subprocess.run(
        [sys.executable, "-m", "support.first_fill_program", reader_kind, valkey.url_for(9), inv_table.url],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert shown[0] == "GET, SQLAlchemy False, engines 0", "a hit"
    assert shown[1] == "GET, SQLAlchemy False, engines 0", "a miss"
    assert "EVALSHA, SQLAlchemy True, engines 1" in shown, "the mark, and the end of the fill"
    assert {line.partition(", ")[2] for line in shown[2:-1]} == {"SQLAlchemy True, engines 1"}
    assert shown[-1] == str(ONE)


def test_row_that_another_process_fills_is_given_to_one_that_knows_no_database(
    reader_kind, options, valkey, inv_table, client
):
    cache = READER_KINDS[reader_kind]("inv", **options)
    blind = READER_KINDS[reader_kind]("inv", url=valkey.url_for(9), timeout=20)
    with ThreadPoolExecutor() as pool, inv_table.locked() as lock:
        filling = pool.submit(cache.get, "1", fill=True)
        wait_until(inv_table.waiting, "the row is read")
        before = script_calls(client)
        waiting = pool.submit(blind.get, "1", fill=True)
        wait_until(lambda: script_calls(client) > before, "it has asked for the row")
        lock.rollback()
        assert (filling.result(60), waiting.result(60)) == (ONE, ONE)
    cache.end()
    blind.end()
