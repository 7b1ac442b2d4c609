"""Read-through: a row that is not cached is read from the database once, and never over anything newer."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.reader_kind import READER_KINDS
from support.script_calls import count_script_calls
from support.waiting import wait_until

from rowcache_tasks import FillError, ReadThrough
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.schedule.rows import Backoff
from rowcache_tasks.schedule.table import TableState

TIMEOUT_S = 20.0
"""Of the database: nothing here takes so long."""
ONE = {"id": 1, "name": "one", "share": 1.0}
TWO = {"id": 2, "name": "two", "share": 2.0}


@pytest.fixture
def inv(reader_kind, valkey, client, inv_table):
    cache = READER_KINDS[reader_kind]("inv", url=valkey.url_for(9), timeout=20, read_through=read_through(inv_table))
    yield cache
    cache.end()


@pytest.fixture
def background():
    with ThreadPoolExecutor() as pool:
        yield pool


def read_through(inv_table, **options):
    return ReadThrough(**{"database_url": inv_table.url, "timeout": TIMEOUT_S} | options)


def refresh(schedule, name):
    """Refresh row 1 with this value."""
    schedule.put_rows({"1": (3600, 0)})
    value = json.dumps({"id": 1, "name": name, "share": 1}).encode()
    assert schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": value}).refreshed == 1


def run(calls, client):
    return [call.run(client) for call in calls]


def begin(fill, client, row_ids, *arguments):
    return fill.read_begin(row_ids, run(fill.begin(row_ids, *arguments), client))


def test_row_that_is_not_cached_is_read_once_and_cached(inv, inv_table, client):
    assert inv.get("1") is None
    assert [inv.get("1", fill=True) for _ in range(3)] == [ONE] * 3
    assert inv.get("1") == ONE
    assert inv.get_with_age("1").age < 60
    assert inv_table.reads() == 1
    assert client.hget("stats:", "filled") == b"1"


def test_filled_row_that_another_client_schedules_stays_cached(inv, inv_table, client, schedule):
    assert inv.get("1", fill=True) == ONE
    value = client.get("inv:1")
    assert client.pttl("inv:1") > 0
    client.delete("stats:")  # anybody may
    client.zadd("delay:", {"1": 3600})
    client.zadd("schedule:", {"1": 0})
    assert schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": value}).unchanged == 1
    assert client.pttl("inv:1") == -1


def test_filled_row_that_a_client_has_put_into_delay_alone_is_refreshed(inv, client, schedule):
    client.zadd("delay:", {"1": 3600})
    assert inv.get("1", fill=True) == ONE
    assert schedule.claim_rows(10, 30)[0].row_ids == ["1"]


@pytest.mark.parametrize("value", [b"{broken", b'{"id":1}}', b"{", b'{"id":NaN}'])
def test_value_that_begins_as_an_object_and_is_none_is_filled(inv, client, value):
    wanted = {"1": ONE, "2": TWO}
    for read in (
        lambda: {"1": inv.get("1", fill=True), "2": TWO},
        lambda: {"1": inv.get_with_age("1", fill=True).row, "2": TWO},
        lambda: inv.get_many(["1", "2"], fill=True),
        lambda: inv.get_many(["1", "2"], fill=True, max_age=3600),
    ):
        client.set("inv:1", value)
        assert read() == wanted
        assert json.loads(client.get("inv:1")) == ONE


def test_thousands_of_misses_cost_one_select_for_a_thousand(inv, inv_table):
    inv_table.run("INSERT INTO inv SELECT n, 'n', 0 FROM generate_series(1001, 3000) n")
    rows = inv.get_many(range(1001, 3502), fill=True)
    assert list(rows) == list(range(1001, 3502))
    assert [row_id for row_id, row in rows.items() if row is None] == list(range(3001, 3502))
    assert inv_table.reads() == 3
    assert inv.get_many(range(1001, 3502), fill=True) == rows
    assert inv_table.reads() == 3


@pytest.mark.parametrize("delay", [None, 3600])
def test_fill_of_many_rows_lets_the_server_do_other_work_in_between(inv, inv_table, client, delay):
    inv_table.run("INSERT INTO inv SELECT n, 'name ' || n, n FROM generate_series(1001, 2000) n")
    client.script_flush()  # as after a restart
    with count_script_calls(client) as called:
        rows = inv.get_many(range(1001, 2001), fill=True, delay=delay)
    assert called == [40], "at most 50 rows a call, at the beginning and at the end"
    assert rows == {n: {"id": n, "name": f"name {n}", "share": float(n)} for n in range(1001, 2001)}
    assert inv.get_many(range(1001, 2001)) == rows
    assert client.zcard("schedule:") == 1000


def test_row_that_does_not_exist_is_remembered_until_somebody_asks_for_it(inv, inv_table, schedule, client):
    assert [inv.get("9", fill=True) for _ in range(3)] == [None] * 3
    assert inv_table.reads() == 1
    assert 0 < client.pttl("fill:inv:9") <= 5000
    inv_table.run("INSERT INTO inv VALUES (9, 'nine', 9)")
    schedule.touch_rows(["9"])
    assert inv.get("9", fill=True)["name"] == "nine"


def test_row_that_was_deleted_is_forgotten_by_a_fill_that_asks_for_less_age(inv, inv_table, client):
    assert inv.get("1", fill=True) == ONE
    inv_table.run("DELETE FROM inv WHERE id = 1")
    client.zincrby("refreshed:", -60, "1")
    assert inv.get("1", max_age=30, fill=True) is None
    assert inv.get("1") is None


def test_fill_with_a_delay_schedules_the_row(inv, inv_table, schedule, client):
    assert inv.get("1", fill=True, delay=10) == ONE
    assert client.zscore("delay:", "1") == 10
    assert client.ttl("inv:1") == -1
    assert schedule.claim_rows(10, 30)[0].row_ids == [], "it is not due before its delay has passed"
    client.zincrby("schedule:", -11, "1")
    claim = schedule.claim_rows(10, 30)[0]
    assert schedule.commit_rows(claim, {"1": b'{"id":1}'}).refreshed == 1
    assert inv.get("1", fill=True) == {"id": 1}


def test_fill_without_a_delay_goes_away_by_itself_and_by_a_claim(inv, schedule, client):
    assert inv.get("1", fill=True) == ONE
    assert client.zscore("delay:", "1") is None
    assert 0 < client.pttl("inv:1") <= 60000
    client.zadd("schedule:", {"1": 0})
    assert schedule.claim_rows(10, 30)[0].row_ids == []
    assert inv.get("1") is None
    assert not client.exists("schedule:", "refreshed:")


def test_filled_row_that_is_scheduled_later_does_not_expire(inv, schedule, client):
    assert inv.get("1", fill=True) == ONE
    schedule.put_rows({"1": (3600, 0)})
    assert client.ttl("inv:1") == -1


def test_filled_row_that_another_client_schedules_does_not_expire_once_it_was_refreshed(inv, schedule, client):
    assert inv.get("1", fill=True) == ONE
    value = client.get("inv:1")
    client.zadd("delay:", {"1": 3600})
    client.zadd("schedule:", {"1": 0})
    assert schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": value}).unchanged == 1
    assert client.ttl("inv:1") == -1


def test_filled_row_that_a_later_fill_schedules_does_not_expire(inv, client):
    assert inv.get("1", fill=True) == ONE
    client.zincrby("refreshed:", -60, "1")
    assert inv.get("1", max_age=30, fill=True, delay=3600) == ONE
    assert client.zscore("delay:", "1") == 3600
    assert client.ttl("inv:1") == -1


def test_fill_of_a_scheduled_row_leaves_the_ttl_of_the_table_alone(inv, schedule, client):
    schedule.put_rows({"1": (3600, 0)})
    client.set("inv:1", "{}", px=100_000)
    client.zadd("refreshed:", {"1": 1})
    assert inv.get("1", max_age=30, fill=True) == ONE
    assert 0 < client.pttl("inv:1") <= 100_000


def test_another_text_for_a_key_is_not_filled_but_told(inv, inv_table, client):
    with pytest.raises(FillError, match="row '01' of inv cannot be filled: it is another text for '1': ask for that"):
        inv.get("01", fill=True)
    assert inv.get_many(["001", "1"], fill=True) == {"001": None, "1": ONE}
    assert client.keys("inv:*") == [b"inv:1"]


def test_mistake_of_one_process_is_not_told_to_the_others(inv, reader_kind, valkey):
    wrong = READER_KINDS[reader_kind]("inv", url=valkey.url_for(9))
    with pytest.raises(FillError, match="no database is known"):
        wrong.get("1", fill=True)
    assert inv.get("1", fill=True) == ONE
    wrong.end()


def test_value_older_than_asked_for_is_read_again(inv, inv_table, client):
    assert inv.get("1", fill=True) == ONE
    inv_table.run("UPDATE inv SET name = 'new' WHERE id = 1")
    assert inv.get("1", max_age=3600, fill=True) == ONE
    client.zincrby("refreshed:", -60, "1")
    assert inv.get("1", max_age=30) is None
    assert inv.get_with_age("1", max_age=30).is_stale
    found = inv.get_with_age("1", max_age=30, fill=True)
    assert (found.row["name"], found.is_stale) == ("new", False)
    assert inv_table.reads() == 2


def test_row_without_a_json_form_is_an_error_of_its_own(inv, caplog):
    with caplog.at_level(logging.WARNING):
        assert inv.get_many(["1", "3", "abc", "2"], fill=True) == {"1": ONE, "3": None, "abc": None, "2": TWO}
    assert "row '3' of inv cannot be filled: column 'share'" in caplog.text
    for row_id in ("3", "abc"):
        with pytest.raises(FillError, match=f"row '{row_id}' of inv cannot be filled: "):
            inv.get(row_id, fill=True)
    assert inv.get_many(["1", "2"]) == {"1": ONE, "2": TWO}


def test_row_of_which_the_reading_failed_holds_up_no_other(inv, client):
    client.set("fill:inv:1", "!down a moment ago")
    with pytest.raises(FillError, match="down a moment ago"):
        inv.get_many(["1", "2"], fill=True)
    assert inv.get("2") == TWO


def test_reader_whose_question_is_sent_again_does_not_wait_for_itself(schedule, client):
    fill = FillScripts(schedule.table, ReadThrough())
    for _ in range(2):
        begun = begin(fill, client, ["1"], b"t1", None)
        assert (begun.ours, begun.held) == (["1"], [])
    assert begin(fill, client, ["1"], b"t2", None).held == ["1"]


def test_read_that_is_older_than_a_commit_does_not_overwrite_it(inv, inv_table, schedule, background):
    with inv_table.locked():
        filling = background.submit(inv.get, "1", fill=True)
        wait_until(inv_table.waiting, "the row is read")
        refresh(schedule, "newer")
    assert filling.result(60) == ONE
    assert inv.get("1")["name"] == "newer"


def unschedule(schedule, client):
    schedule.drop_rows(["1"])


def unschedule_by_hand(schedule, client):
    client.zadd("delay:", {"1": -1})
    client.zadd("schedule:", {"1": 0})
    schedule.claim_rows(10, 30)


def say_so_by_hand(schedule, client):
    client.zadd("delay:", {"1": -1})


def touch(schedule, client):
    schedule.touch_rows(["1"])


def flush(schedule, client):
    client.flushdb()


def drop_table(schedule, client):
    seconds, microseconds = client.time()
    TableState(client, schedule.table).drop_table(f"{seconds}.{microseconds:06d}")


@pytest.mark.parametrize("drop", [unschedule, unschedule_by_hand, say_so_by_hand, touch, flush, drop_table])
@pytest.mark.parametrize("delay", [None, 10])
def test_what_is_dropped_while_it_is_read_is_not_written_back(
    inv, inv_table, schedule, client, background, drop, delay
):
    with inv_table.locked():
        filling = background.submit(inv.get, "1", fill=True, delay=delay)
        wait_until(inv_table.waiting, "the row is read")
        drop(schedule, client)
    assert filling.result(60) == ONE
    assert not client.exists("inv:1")
    assert not client.exists("fill:inv:1")
    assert (client.zscore("delay:", "1") or -1) < 0
    assert drop is say_so_by_hand or client.zscore("schedule:", "1") is None


@pytest.mark.parametrize("delay", [None, 10.0])
def test_each_row_of_a_fill_ends_in_its_own_way(schedule, client, delay, monkeypatch):
    monkeypatch.setattr(
        "rowcache_tasks.reader.fill.scripts.FAILED_MS", 60_000
    )  # a slow machine looks later than in a second
    fill = FillScripts(schedule.table, ReadThrough())
    schedule.put_rows({"scheduled": (3600, 100), "failing": (3600, 0)})
    schedule.release_rows(schedule.claim_rows(10, 30)[0], {"failing": "no"}, Backoff())
    client.zadd("delay:", {"unwanted": -1})
    client.set("inv:absent", "{}")
    client.zadd("refreshed:", {"absent": 1, "scheduled": 1})
    schedule_before = dict(client.zrange("schedule:", 0, -1, withscores=True))
    notes = {"unreadable": b"!down", "absent": b"-", "unread": b"", "other": b"?text"}
    rows = ["new", "taken", "scheduled", "unwanted", "late", "failing", "gone", *notes]
    begun = begin(fill, client, rows, b"t1", 0)
    assert begun.ours == rows
    client.set("fill:inv:taken", b"t2")
    client.delete("fill:inv:gone")
    client.zadd("refreshed:", {"late": float(begun.began_at) + 1e-3})
    outcomes = {row_id: notes.get(row_id, b'{"id":"%b"}' % row_id.encode()) for row_id in rows}
    assert run(fill.end(b"t1", begun, outcomes, delay), client) == [[3, 5]]

    filled = {"new", "scheduled", "failing"}
    assert {key: client.get(key) for key in client.keys("inv:*")} == {
        b"inv:" + row_id.encode(): outcomes[row_id] for row_id in filled
    }
    assert {key.decode(): client.get(key) for key in client.keys("fill:inv:?*")} == {
        "fill:inv:taken": b"t2",
        "fill:inv:unreadable": b"!down",
        "fill:inv:absent": b"-",
        "fill:inv:other": b"?text",
    }
    fences = dict(client.zrange("refreshed:", 0, -1, withscores=True))
    assert {row_id for row_id, at in fences.items() if at >= float(begun.began_at)} == {
        *(row_id.encode() for row_id in filled),
        b"absent",
        b"late",
    }
    assert client.hkeys("failures:") == []
    due = dict(client.zrange("schedule:", 0, -1, withscores=True))
    assert {row_id: due[row_id] for row_id in schedule_before} == schedule_before
    assert due.keys() - schedule_before.keys() == {b"new"}
    assert client.zscore("delay:", "new") == delay
    assert client.exists("expiring:") == (delay is None)
    assert [client.pttl(f"inv:{row_id}") == -1 for row_id in ("new", "scheduled")] == [delay is not None, True]
    if delay:
        assert due[b"new"] == pytest.approx(float(begun.began_at) + delay, abs=1e-5)
        assert client.zscore("changed:", "new") == pytest.approx(float(begun.began_at), abs=1e-6)
