"""Schedule changes: the form of their messages, and which errors put them back into their queue."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
import redis
from celery import chain
from celery.canvas import maybe_signature
from celery.exceptions import Reject, SoftTimeLimitExceeded
from kombu import Connection
from support.in_process_worker import in_process_worker

from rowcache_tasks import row_id, tasks
from rowcache_tasks.celery import app
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.tasks.change import changing

TABLES = {"inv": {"table": "inventory"}, "copied": {"table": "inventory", "replica": True}}


@pytest.fixture(scope="module")
def runtime(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("change")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        in_process_worker(monkeypatch, folder, valkey.url_for(9), database_url="sqlite://", tables=TABLES) as runtime,
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


def test_change_that_takes_longer_than_the_time_limit_of_the_caller_fails(runtime):
    with pytest.raises(SoftTimeLimitExceeded), changing("inv"):
        raise SoftTimeLimitExceeded


@pytest.mark.parametrize("error", [ArgumentError("wrong"), redis.ResponseError("WRONGTYPE of another program")])
def test_change_that_no_waiting_mends_fails(runtime, error):
    with pytest.raises(type(error)), changing("inv"):
        raise error


def test_rows_beyond_the_size_of_a_message_are_refused_in_the_caller(runtime):
    with pytest.raises(ArgumentError, match="600,000 rows take 11,400,000 bytes of a message: send them in parts"):
        tasks.schedule_rows.delay("inv", dict.fromkeys(range(1_000_000, 1_600_000), 3600))
    with pytest.raises(ArgumentError, match=r"2,000 rows take 12,[\d,]+ bytes of a message"):
        tasks.refresh_now.delay("inv", [f"{n:04}{1020 * chr(1)}" for n in range(2000)])


UUID_5 = "00000000-0000-0000-0000-000000000005"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "sent"),
    [
        (tasks.schedule_row, (UUID(int=5), timedelta(minutes=1)), {}, [UUID_5, 60]),
        (tasks.schedule_row, (), {"delay": 5, "row_id": (7, "a,b")}, ["7,a%2Cb", 5]),
        (tasks.schedule_rows, ({date(2026, 1, 2): 5, Decimal("1.50"): timedelta(seconds=6)},), {}, None),
        (tasks.unschedule_row, (MOMENT,), {}, ["2026-01-02T01:04:05Z"]),
        (tasks.unschedule_rows, ({(1, True)},), {}, [["1,true"]]),
        (tasks.refresh_now, ((key for key in (b"\0", 42)),), {}, [["AA==", "42"]]),
        (tasks.schedule_table, (timedelta(minutes=1),), {}, [60]),
    ],
)
def test_message_has_keys_as_row_ids_and_delays_as_seconds(runtime, valkey, task, args, kwargs, sent):
    sent = [{"2026-01-02": 5, "1.50": 6}] if sent is None else sent
    with Connection(valkey.broker_url(8)) as broker:
        task.apply_async(("inv", *args), kwargs, connection=broker, serializer="json")
        message = broker.default_channel.basic_get("rowcache.schedule", no_ack=True)
    (got, options, _embed) = message.decode()
    assert got == ["inv", *sent]
    assert options.keys() == {"stamp"}


def test_keys_and_delays_of_a_signature_survive_the_message_of_a_chain(runtime, valkey):
    key, delay = (7, UUID(int=5), "a,b"), timedelta(minutes=1)
    steps = [
        tasks.pause_table.si("inv"),
        tasks.schedule_row.si("inv", key, delay),
        tasks.schedule_rows.signature(("inv",), {"delays": {key: delay}}, immutable=True),
        tasks.refresh_now.si("inv", (found for found in [key, 42])),
    ]
    text = f"7,{UUID_5},a%2Cb"
    got = []
    with Connection(valkey.broker_url(8)) as broker:
        chain(*steps).apply_async(connection=broker, serializer="json")
        while message := broker.default_channel.basic_get("rowcache.schedule", no_ack=True):
            args, kwargs, embed = message.decode()
            assert kwargs.pop("stamp")
            got.append([*args, *kwargs.values()])
            if embed["chain"]:
                later = embed["chain"].pop()  # as the worker does when the task has ended
                maybe_signature(later, app=app).apply_async(chain=embed["chain"], connection=broker, serializer="json")
    assert got == [["inv"], ["inv", text, 60], ["inv", {text: 60}], ["inv", [text, "42"]]]
    assert dict(tasks.unschedule_row.s(row_id=key))["kwargs"] == {"row_id": text}


def test_wrong_signature_is_an_error_where_it_is_made():
    for wrong in (("inv", 42), ("inv", 42, "10"), ("inv", None, 10)):
        with pytest.raises(ArgumentError):
            tasks.schedule_row.si(*wrong)
    with pytest.raises(ArgumentError, match=r"in a message, where a tuple becomes a list, row_id\(7, 'a'\)"):
        tasks.schedule_row("inv", [7, "a"], 10)


def test_rows_named_by_keys_of_any_type_are_scheduled_touched_and_dropped(runtime, client):
    key, other = (7, date(2026, 1, 2)), UUID(int=5)
    assert tasks.schedule_row("inv", key, timedelta(seconds=60)) == {"applied": 1, "ignored": 0}
    assert tasks.schedule_rows("inv", {other: 60}) == {"applied": 1, "ignored": 0}
    assert client.zrange("delay:", 0, -1) == [UUID_5.encode(), b"7,2026-01-02"]
    assert tasks.refresh_now("inv", iter([key, other])) == {"touched": 2, "unscheduled": 0}
    assert tasks.unschedule_row("inv", row_id(7, date(2026, 1, 2)))["applied"] == 1
    assert tasks.unschedule_rows("inv", [other])["applied"] == 1
    for wrong in ("42", b"42", key):
        with pytest.raises(ArgumentError, match="is one key"):
            tasks.refresh_now("inv", wrong)


def test_position_that_a_change_needs_is_noted_with_it(runtime, client):
    assert tasks.schedule_row("copied", 1, 60, position="0/A0")["applied"] == 1
    assert client.zscore("position:copied", "1") > 0
    tasks.refresh_now("copied", [1, 2], position="0/B0")
    first, second = client.zmscore("position:copied", ["1", "2"])
    assert first == second
    tasks.schedule_rows("copied", {3: 60}, position="0/B0")
    assert client.zscore("position:copied", "3") == first


def test_stamp_of_the_caller_is_kept_and_an_unknown_query_is_refused_there(runtime, valkey):
    with Connection(valkey.broker_url(8)) as broker:
        tasks.pause_table.apply_async(("inv",), {"stamp": "123.5"}, connection=broker, serializer="json")
        message = broker.default_channel.basic_get("rowcache.schedule", no_ack=True)
    assert message.decode()[1] == {"stamp": "123.5"}
    with pytest.raises(ArgumentError, match="query 'hot' is not in rowcache_tables"):
        tasks.schedule_query.delay("inv", "hot", 60)
