"""Commits while Redis is away, hangs or refuses, and across a fork."""

import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from support.in_process_worker import in_process_worker
from support.orm_models import TABLES, Inventory, User
from support.touched_rows import TouchedRows
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.orm import touched
from rowcache_tasks.schedule.connection import connect


@pytest.fixture
def server():
    """A server that the test may break."""
    with Valkey() as server:
        yield server


@pytest.fixture
def own_cache(server):
    client = connect(server.url, "test")
    touched_rows = TouchedRows(client)
    touched_rows.schedule("inv", "1", "2", "3")
    yield touched_rows
    client.close()


def sell(session_maker, row_id, stock):
    with session_maker.begin() as session:
        session.get_one(Inventory, row_id).stock = stock


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_commit_is_not_held_up_while_redis_hangs_and_rows_are_touched_again_after(
    session_maker, listen, server, own_cache, caplog
):
    listen(session_maker, url=server.url, timeout=0.2)
    sell(session_maker, 1, 1)
    assert own_cache.touched() == {"inv": ["1"]}
    before = own_cache.client.info()["total_connections_received"]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        for stock in range(2, 32):
            sell(session_maker, 1, stock)
        elapsed_s = time.monotonic() - started
    finally:
        os.kill(server.pid, signal.SIGCONT)
    with session_maker() as session:
        assert session.get_one(Inventory, 1).stock == 31
    tries = own_cache.client.info()["total_connections_received"] - before
    assert tries <= 2 + elapsed_s / 0.5, "after each pause, one commit has tried"
    assert 1 <= len(warnings(caplog)) <= 1 + elapsed_s / 0.5
    assert warnings(caplog)[0].startswith("1 rows of inv, and those of 0 commits before, are not refreshed at once")

    own_cache.touched()  # what the server had read before it was stopped

    def is_touched():
        sell(session_maker, 2, 40 + time.monotonic_ns() % 1_000_000)
        return own_cache.touched()

    assert wait_until(is_touched, "the pause has ended", pause_s=0.05) == {"inv": ["2"]}


def test_commit_succeeds_while_redis_is_away_and_its_restart_costs_no_row(
    session_maker, listen, server, own_cache, caplog
):
    listen(session_maker, url=server.url)
    sell(session_maker, 1, 1)
    server.kill()
    server.start()
    own_cache.schedule("inv", "1", "2")
    sell(session_maker, 2, 1)
    assert own_cache.touched() == {"inv": ["2"]}, "the broken connection was replaced"
    assert warnings(caplog) == []
    server.kill()
    sell(session_maker, 3, 1)
    with session_maker() as session:
        assert session.get_one(Inventory, 3).stock == 1
    assert len(warnings(caplog)) == 1


def test_commits_of_several_threads_succeed_while_redis_hangs(session_maker, listen, server, caplog):
    listen(session_maker, url=server.url, timeout=0.2)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(lambda row_id: [sell(session_maker, row_id, stock) for stock in range(1, 6)], (1, 2, 3)))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert warnings(caplog)
    with session_maker() as session:
        assert session.scalars(select(Inventory.stock)).all() == [5, 5, 5]


def test_table_that_redis_refuses_is_logged_and_holds_up_no_other(session_maker, listen, touched_rows, client, caplog):
    listen(session_maker)
    client.set("delay:users", "nonsense")
    for stock in (1, 2, 3):
        with session_maker.begin() as session:
            session.get_one(Inventory, 1).stock = stock
            session.add(User(user_id=stock, nick=str(stock)))
        assert touched_rows.touched() == {"inv": ["1"]}
    client.delete("delay:users")
    assert "WRONGTYPE" in warnings(caplog)[0]


def test_commit_of_more_rows_than_there_is_time_for_is_logged_once_and_leaves_redis_to_the_others(
    session_maker, listen, touched_rows, monkeypatch, caplog
):
    hook = listen(session_maker)
    with monkeypatch.context() as patch, session_maker.begin() as session:
        patch.setattr(hook.refresher, "_timeout_s", 0.0)  # the time is over as soon as the first portion is sent
        touched(session, "inv", [1, *range(1000, 6999)])
        session.commit()
    assert touched_rows.touched() == {"inv": ["1"]}
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("4000 rows of inv, and those of 0 commits before, are not refreshed at once")
    assert "4000 of 6000 rows of inv are not refreshed now" in warnings(caplog)[0]
    sell(session_maker, 2, 1)
    assert touched_rows.touched() == {"inv": ["2"]}, "no pause: the server is there"


def test_server_that_cannot_be_logged_in_to_does_not_show_the_password(session_maker, listen, valkey, caplog):
    listen(session_maker, url=valkey.url_for(9).replace("unix://", "unix://nobody:s3cret@"))
    sell(session_maker, 1, 1)
    assert len(warnings(caplog)) == 1
    assert "s3cret" not in caplog.text


def test_commits_of_a_forked_child_and_of_its_parent_are_both_seen(session_maker, listen, touched_rows, orm_engine):
    listen(session_maker)
    sell(session_maker, 1, 1)
    assert touched_rows.touched() == {"inv": ["1"]}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            orm_engine.dispose(close=False)
            for stock in range(2, 52):
                sell(session_maker, 2, stock)
            status = 0
        finally:
            os._exit(status)
    for stock in range(2, 52):
        sell(session_maker, 3, stock)
    assert os.waitpid(child, 0)[1] == 0
    assert touched_rows.touched() == {"inv": ["2", "3"]}


def test_broker_that_is_away_raises_nothing_either(session_maker, listen, monkeypatch, tmp_path, valkey, caplog):
    with in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES):
        from rowcache_tasks.celery import app  # noqa: PLC0415 reads the settings of the test

        monkeypatch.setattr(app.conf, "broker_url", "redis+socket:///nowhere/valkey.sock")
        monkeypatch.setattr(app.conf, "broker_write_url", "redis+socket:///nowhere/valkey.sock")
        app.pool.force_close_all()
        listen(session_maker, url=None, tables=None, timeout=None, via="task")
        sell(session_maker, 1, 1)
        app.pool.force_close_all()
    assert [line for line in warnings(caplog) if line.startswith("1 rows of inv, and those of 0 commits before")]


def test_commits_that_were_left_out_are_counted_when_redis_answers_again(
    session_maker, listen, server, own_cache, caplog
):
    listen(session_maker, url=server.url, timeout=0.2)
    server.stop()
    left_out = 3
    for stock in range(1 + left_out):
        sell(session_maker, 1, stock)
    assert len(warnings(caplog)) == 1
    server.start()

    def is_sent():
        sell(session_maker, 1, time.monotonic_ns() % 1_000_000)
        return "at the end of their delay" in warnings(caplog)[-1] and len(warnings(caplog)) > 1

    wait_until(is_sent, "the pause has ended", pause_s=0.05)
    count = int(warnings(caplog)[-1].split()[2])
    assert count >= left_out
