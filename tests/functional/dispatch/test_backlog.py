"""The list of batches that nobody has started, and how a worker takes one off it without waiting."""

from contextlib import ExitStack

import pytest
import redis
from support.waiting import wait_until

from rowcache_tasks.dispatch.backpressure import Backlog
from rowcache_tasks.keys import QUEUED_BATCHES


@pytest.fixture
def backlog(client):
    return Backlog(client)


@pytest.fixture
def claim(schedule):
    schedule.put_rows({"1": (100, 0)})
    return schedule.claim_rows(10, 30)[0]


def test_batch_is_off_the_list_while_it_is_refreshed(backlog, client, claim):
    assert client.zcard(QUEUED_BATCHES) == 1
    with backlog.starting(claim):
        wait_until(lambda: client.zcard(QUEUED_BATCHES) == 0, "the batch is started")


def test_refresh_that_fails_leaves_no_answer_behind_for_others(backlog, client, claim):
    for _ in range(3):
        with pytest.raises(ValueError, match="no such row"), backlog.starting(claim):
            raise ValueError("no such row")
        assert client.zcard(QUEUED_BATCHES) == 0
        assert [client.echo(str(n)) for n in range(20)] == [str(n).encode() for n in range(20)]


def test_more_threads_than_redis_py_allows_connections_start_batches_at_the_same_time(backlog, client, claim):
    with ExitStack() as stack:
        for _ in range(101):
            stack.enter_context(backlog.starting(claim))
        assert client.ping()


@pytest.fixture
def admin(client):
    """A client with connections of its own."""
    pool = client.connection_pool
    admin = redis.Redis(
        connection_pool=redis.ConnectionPool(pool.connection_class, **pool.connection_kwargs),
        single_connection_client=True,
    )
    yield admin
    admin.client_unpause()
    admin.close()
    admin.connection_pool.disconnect()


def test_start_is_noted_although_the_connection_had_died(backlog, client, claim, admin):
    kill_others(admin)
    with backlog.starting(claim):
        wait_until(lambda: client.zcard(QUEUED_BATCHES) == 0, "the batch is started")


def test_start_is_noted_although_the_connection_dies_meanwhile(backlog, client, claim, admin):
    admin.client_pause(60_000, all=False)
    with backlog.starting(claim):
        kill_others(admin)
        admin.client_unpause()
        assert admin.zcard(QUEUED_BATCHES) == 1
    assert client.zcard(QUEUED_BATCHES) == 0


def kill_others(admin):
    own = admin.client_id()
    for one in admin.client_list():
        if int(one["id"]) != own:
            admin.client_kill_filter(_id=one["id"])


def test_list_of_another_type_holds_nothing_up(backlog, client, claim, caplog):
    client.set(QUEUED_BATCHES, "somebody else's")
    with backlog.starting(claim):
        pass
    assert caplog.text.count(f"{QUEUED_BATCHES} is not usable") == 2
    assert client.echo("still in step") == b"still in step"
