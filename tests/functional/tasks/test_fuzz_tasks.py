"""Whatever an application or a message passes to a task is accepted or refused, and what is refused changes nothing."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection
from support.hostile_values import any_json, any_object, assert_one_clear_line, numbers, reproducible, texts
from support.in_process_worker import in_process_worker

from rowcache_tasks import tasks
from rowcache_tasks.errors import ArgumentError

NO_CHANGES = {"refresh_row", "ScheduleChange", "changing", "now_stamp"}
CHANGES = [getattr(tasks, name) for name in tasks.__all__ if name not in NO_CHANGES]

TABLES = {"inv": {"table": "inventory", "queries": {"all": "SELECT id FROM inventory"}}}

row_ids = st.one_of(
    any_object, texts, st.lists(texts | numbers, max_size=3), st.dictionaries(texts, numbers, max_size=3)
)
tables = st.just("inv") | any_object


@pytest.fixture(scope="module")
def world(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    database = sqlite3.connect(folder / "shop.db", isolation_level=None)
    database.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY, stock INTEGER)")
    database.executemany("INSERT INTO inventory VALUES (?, 0)", [(1,), (42,)])
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        in_process_worker(
            monkeypatch, folder, valkey.url_for(9), database_url=f"sqlite:///{folder}/shop.db", tables=TABLES
        ) as runtime,
        Connection(valkey.broker_url(8)) as broker,
    ):
        yield runtime.client, broker
    database.close()


def run(client, call):
    """Call a task; True when it was accepted. What was refused has changed nothing."""
    client.flushdb()
    try:
        call()
    except ArgumentError as error:
        assert_one_clear_line(error)
        assert client.dbsize() == 0
        return False
    return True


@reproducible
@given(st.sampled_from(CHANGES), st.tuples(tables, row_ids, numbers | any_object), st.integers(0, 3), any_object)
def test_change_with_any_arguments_is_sent_or_refused(world, task, args, count, stamp):
    client, broker = world
    for kwargs in ({}, {"stamp": stamp}, {"unknown": stamp}):
        run(client, lambda kwargs=kwargs: task.apply_async(args[:count], kwargs, connection=broker))
        assert client.dbsize() == 0, "sending changes nothing"


@reproducible
@given(st.sampled_from(CHANGES), tables, row_ids, numbers | any_object, st.just("") | any_object)
def test_change_with_any_arguments_is_done_or_refused(world, task, table, ids, delay, stamp):
    arguments = {
        tasks.schedule_row: (ids, delay),
        tasks.schedule_rows: (ids if isinstance(ids, dict) else {"1": delay},),
        tasks.schedule_table: (delay,),
        tasks.schedule_query: (ids if isinstance(ids, str) and ids else "all", delay),
        tasks.reconcile_table: (delay,),
        tasks.pause_table: (),
        tasks.resume_table: (),
        tasks.drop_table: (),
        tasks.audit_table: (delay,),
    }
    if run(world[0], lambda: task(table, *arguments.get(task, (ids,)), stamp=stamp)):
        assert table == "inv"


@reproducible
@given(tables, row_ids, st.none() | any_object | st.dictionaries(st.sampled_from(["claimed_at", "x"]), any_json))
def test_refresh_with_any_claim_is_done_or_refused(world, table, ids, claim):
    if run(world[0], lambda: tasks.refresh_row(table, ids, claim)):
        assert table == "inv"


@reproducible
@given(
    st.lists(texts | st.sampled_from(["1", "42"]), max_size=3),
    st.sampled_from(["claimed_at", "lease_until", "epoch", "late_ms", "namespace"]),
    any_json | st.sampled_from(["nan", "-1", "1e9", "99999999999", "0", [float("nan")], [-1], [2**63], [0] * 1001]),
)
def test_refresh_with_a_claim_wrong_in_one_field_is_refused_or_harmless(world, ids, name, value):
    client, _ = world
    claim = {
        "claimed_at": "1700000000.5",
        "lease_until": "1700000030.5",
        "epoch": "0",
        "late_ms": 0,
        "namespace": "",
    } | {name: value}
    client.flushdb()
    client.zadd("delay:", {"1": 100, "42": 100})
    client.zadd("schedule:", {"1": 2e9, "42": 2e9})
    client.set("inv:1", b'{"id":1,"stock":-1}')
    try:
        tasks.refresh_row("inv", ids, claim)
    except ArgumentError as error:
        assert_one_clear_line(error)
    assert client.zrange("schedule:", 0, -1, withscores=True) == [(b"1", 2e9), (b"42", 2e9)], "it was never their lease"
    assert client.mget(["inv:1", "inv:42"]) == [b'{"id":1,"stock":-1}', None], "it was no claim of these rows"


OF_TABLES_ALONE = {"audit_table", "drop_table", "pause_table", "resume_table"}
WRONG_CALLS = [((), {}), (("inv", "1", 5, 6), {}), (("inv",), {"x": 1})]


@pytest.mark.parametrize(
    ("task", "args", "kwargs"),
    [(task, args, kwargs) for task in CHANGES for args, kwargs in WRONG_CALLS]
    + [(getattr(tasks, name), ("inv",), {}) for name in tasks.__all__ if name not in NO_CHANGES | OF_TABLES_ALONE],
)
def test_wrong_number_of_arguments_is_refused_by_the_name_of_the_task(world, task, args, kwargs):
    with pytest.raises(ArgumentError, match=task.__name__):
        task.apply_async(args, kwargs)


def test_table_that_is_not_configured_is_refused_whatever_it_is(world):
    with pytest.raises(ArgumentError, match=r"table \[\] is not in rowcache_tables: found 'inv'"):
        tasks.schedule_row.delay([], "1", 5)
    with pytest.raises(ArgumentError, match="is not in rowcache_tables"):
        tasks.refresh_row({}, ["1"])
