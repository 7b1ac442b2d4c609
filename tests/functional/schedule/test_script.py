"""A script is run although the server has forgotten it: called, awaited and in a pipeline."""

import asyncio
import threading

import pytest
import redis.asyncio

from rowcache_tasks.config.settings import Table
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import load_script, run_all
from rowcache_tasks.schedule.scripts import script_names

TABLE = Table("inv", "inventory")


def touch_call(row_ids, table=TABLE):
    return Schedule(None, table).touch_call(row_ids)


@pytest.mark.parametrize("name", script_names())
def test_text_has_the_digest_that_the_server_gives_it(client, name):
    script = load_script(name)
    assert client.script_load(script.text) == script.digest


def test_call_sends_the_text_once_when_the_server_has_forgotten_it(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    for _ in range(2):
        client.script_flush()
        client.config_resetstat()
        assert schedule.touch_rows(["1"]) == 1
        assert schedule.touch_rows(["1"]) == 1
        stats = client.info("commandstats")
        assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (1, 2)
        assert "cmdstat_script|load" not in stats


def test_awaited_call_sends_the_text_when_the_server_has_forgotten_it(schedule, client, valkey):
    schedule.put_rows({"1": (5, 0)})

    async def touch():
        async with redis.asyncio.Redis.from_url(valkey.url_for(9)) as awaited:
            found = []
            for _ in range(2):
                await awaited.script_flush()
                found += [await touch_call(["1"]).send(awaited) for _ in range(2)]
            return found

    assert asyncio.run(touch()) == [1, 1, 1, 1]


def test_fill_is_awaited_when_its_client_is(client, valkey):
    scripts = FillScripts(TABLE, ReadThrough())
    (call,) = scripts.begin(["1"], b"t1", None)

    async def begin():
        async with redis.asyncio.Redis.from_url(valkey.url_for(9)) as awaited:
            await awaited.script_flush()
            return await call.send(awaited)

    assert scripts.read_begin(["1"], [asyncio.run(begin())]).ours == ["1"]


def test_pipeline_repeats_only_the_calls_that_the_server_did_not_know(schedule, client):
    rows = [str(n) for n in range(5)]
    schedule.put_rows(dict.fromkeys(rows, (5, 100)))
    calls = [touch_call([row]) for row in rows]
    client.script_flush()
    client.config_resetstat()
    assert run_all(client, calls) == [1] * 5
    assert run_all(client, calls) == [1] * 5
    stats = client.info("commandstats")
    assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (5, 10)


def test_pipeline_gives_an_error_in_the_place_of_its_call(schedule, client):
    schedule.put_rows({"1": (5, 100)})
    client.set("delay:other", "a string")
    calls = [touch_call(["1"]), touch_call(["1"], Table("other", "other", namespace="other"))]
    for _ in range(2):
        client.script_flush()
        touched, refused = run_all(client, calls)
        assert touched == 1
        assert "WRONGTYPE" in str(refused)
    assert run_all(client, []) == []


def test_no_call_fails_while_another_client_flushes_scripts(valkey, schedule):
    schedule.put_rows({"1": (5, 0)})
    stop = threading.Event()
    flushing = connect(valkey.url_for(9), "test")

    def flush():
        while not stop.is_set():
            flushing.script_flush()

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        own = Schedule(connect(valkey.url_for(9), "test"), TABLE)
        assert [own.touch_rows(["1"]) for _ in range(500)] == [1] * 500
        calls = [touch_call(["1"])] * 50
        assert [run_all(own._client, calls) for _ in range(10)] == [[1] * 50] * 10
    finally:
        stop.set()
        thread.join(10)
        flushing.close()
