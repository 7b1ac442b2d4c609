"""Errors of a schedule change: which of them put it back into its queue."""

import pytest
import redis
from celery.exceptions import Reject
from support.in_process_worker import in_process_worker

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.tasks.change import changing


@pytest.fixture(scope="module")
def runtime(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("change")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        in_process_worker(
            monkeypatch, folder, valkey.url_for(9), database_url="sqlite://", tables={"inv": {"table": "inventory"}}
        ) as runtime,
    ):
        yield runtime


@pytest.mark.parametrize("error", [TypeError("of a library"), redis.ResponseError("OOM command not allowed")])
def test_change_is_put_back_and_connections_of_other_threads_are_left_alone(runtime, error):
    pool = runtime.client.connection_pool
    busy = pool.get_connection()
    busy.send_command("BLPOP", "nothing", 0.1)
    with pytest.raises(Reject) as raised, changing("inv"):
        raise error
    assert raised.value.requeue
    assert busy.read_response() is None, "the reply of the other thread's command arrives"
    pool.release(busy)


@pytest.mark.parametrize("error", [ArgumentError("wrong"), redis.ResponseError("WRONGTYPE of another program")])
def test_change_that_no_waiting_mends_fails(runtime, error):
    with pytest.raises(type(error)), changing("inv"):
        raise error
