import os
import pickle
import signal
import time

import pytest
from support.orm_models import TABLES
from support.settings_module import write_settings

from demo.servers import Valkey
from rowcache_tasks import ArgumentError, CacheError, ConfigError, Refresher


@pytest.fixture
def refresher(valkey):
    refresher = Refresher(url=valkey.url_for(9), tables=TABLES, timeout=60)
    yield refresher
    refresher.close()


def test_scheduled_rows_are_due_at_once_and_counted(refresher, touched_rows):
    assert refresher.refresh_now("inv", ["1", 2, "2", "nope"]) == 2
    assert refresher.refresh_now("inv", [3]) == 1
    assert refresher.refresh_now("inv", []) == 0
    assert touched_rows.touched() == {"inv": ["1", "2", "3"]}


def test_value_that_a_reader_filled_in_is_removed(refresher, client):
    client.set("inv:42", b"{}")
    assert refresher.refresh_now("inv", ["42"]) == 0
    assert client.get("inv:42") is None


def test_many_rows_of_several_tables_are_touched_together(refresher, touched_rows):
    seats = [f"{n},a" for n in range(2500)]
    touched_rows.schedule("seat", *seats)
    assert refresher.refresh_tables({"inv": ["1"], "seat": seats, "users": []}) == 2501
    assert {table: len(row_ids) for table, row_ids in touched_rows.touched().items()} == {"inv": 1, "seat": 2500}


def test_settings_come_from_the_configuration_module(valkey, touched_rows, tmp_path, monkeypatch):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    refresher = Refresher(timeout=60)
    assert refresher.refresh_now("inv", ["1"]) == 1
    refresher.close()


def test_keys_are_those_of_any_iterable(refresher, touched_rows):
    touched_rows.schedule("inv", "42")
    assert refresher.refresh_tables({"inv": ["42"]}) == 1
    assert touched_rows.touched() == {"inv": ["42"]}
    touched_rows.schedule("seat", "1,a", "2,a")
    assert refresher.refresh_tables({"inv": [4, 4, "2"], "seat": ((n, "a") for n in (1, 2))}) == 4
    assert touched_rows.touched() == {"inv": ["2", "4"], "seat": ["1,a", "2,a"]}
    assert refresher.refresh_now("inv", {1, "2"}) == 2
    assert refresher.refresh_now("inv", {"3": "x"}.keys()) == 1
    assert touched_rows.touched() == {"inv": ["1", "2", "3"]}


def test_copy_made_with_pickle_has_connections_of_its_own_and_no_password_is_shown(refresher, touched_rows):
    with refresher, pickle.loads(pickle.dumps(refresher)) as copy:
        assert (refresher.refresh_now("inv", [1]), copy.refresh_now("inv", [2])) == (1, 1)
    assert touched_rows.touched() == {"inv": ["1", "2"]}
    assert repr(Refresher(url="redis://:s3cret@h", tables={"inv": {"table": "t"}})) == (
        "Refresher(url='redis://***@h', tables=['inv'])"
    )


@pytest.mark.parametrize(
    ("table", "row_ids"),
    [
        *[("nope", ["1"]), ("inv", [""]), ("inv", ["\ud800"]), ("inv", [None]), ("inv", None), ("inv", True)],
        *[("inv", "42"), ("inv", b"42"), ("inv", (7, "a")), ("inv", ["1", ["2"]]), ([], ["1"])],
    ],
)
def test_wrong_arguments_change_nothing(refresher, touched_rows, table, row_ids):
    with pytest.raises(ArgumentError):
        refresher.refresh_now(table, row_ids)
    for rows in ({"inv": ["1"], "users": row_ids}, ["inv"], "inv"):
        if table == "inv":
            with pytest.raises(ArgumentError):
                refresher.refresh_tables(rows)
    assert touched_rows.touched() == {}


def test_unknown_table_beside_a_known_one_changes_nothing(refresher, touched_rows):
    with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables"):
        refresher.refresh_tables({"inv": ["1"], "nope": ["1"]})
    assert touched_rows.touched() == {}


def test_wrong_settings_are_a_clear_error():
    with pytest.raises(ConfigError, match="rowcache_redis_url is 'http://x': allowed is redis://"):
        Refresher(url="http://x", tables=TABLES)
    with pytest.raises(ConfigError, match="rowcache_tables is not set"):
        Refresher(url="redis://localhost")
    with pytest.raises(ArgumentError, match="and url is not given: give the url of Redis as well"):
        Refresher(tables=TABLES)
    with pytest.raises(ArgumentError, match="timeout is 0: allowed is a number of seconds"):
        Refresher(url="redis://localhost", tables=TABLES, timeout=0)


def test_server_that_is_away_is_an_error_by_hand():
    with pytest.raises(CacheError, match="1 of 1 rows of inv are not refreshed now: Redis does not answer: ") as caught:
        Refresher(url="unix:///nowhere/valkey.sock", tables=TABLES).refresh_now("inv", ["1"])
    assert caught.value.left == {"inv": 1}


def test_table_that_redis_refuses_is_an_error_and_the_others_are_touched(refresher, touched_rows, client):
    client.set("delay:users", "nonsense")
    with pytest.raises(CacheError, match="1 of 1 rows of users are not refreshed now: Redis refuses: WRONGTYPE"):
        refresher.refresh_tables({"users": ["ann"], "inv": ["1"]})
    assert touched_rows.touched() == {"inv": ["1"]}


def test_up_to_2000_rows_are_one_round_trip(refresher, touched_rows, client):
    refresher.refresh_now("inv", ["1"])  # the connection is made, and the script is loaded
    touched_rows.schedule("seat", *(f"{n},a" for n in range(1998)))
    before = client.info()["total_reads_processed"]
    assert refresher.refresh_tables({"inv": ["1", "2"], "seat": [f"{n},a" for n in range(1998)]}) == 2000
    reads = client.info()["total_reads_processed"] - before
    assert reads < 20, "what one send has sent, the server reads in parts"


def test_what_is_left_when_the_time_is_over_is_not_sent_and_counted(valkey, touched_rows):
    refresher = Refresher(url=valkey.url_for(9), tables=TABLES, timeout=2)

    def rows():
        end = time.monotonic() + 2.1
        yield "2"
        while time.monotonic() < end:
            time.sleep(0.01)
        yield from map(str, range(10_000, 17_998))
        yield "3"

    with pytest.raises(CacheError, match="6000 of 8000 rows of inv are not refreshed now: 2 s are over: ") as caught:
        refresher.refresh_tables({"inv": rows(), "users": []})
    refresher.close()
    assert caught.value.left == {"inv": 6000}
    assert touched_rows.touched() == {"inv": ["2"]}, "what was sent is refreshed"


def test_server_that_begins_to_hang_is_an_error_within_the_timeout():
    with Valkey() as server:
        refresher = Refresher(url=server.url, tables=TABLES, timeout=2)
        refresher.refresh_now("inv", ["1"])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(CacheError, match="5000 of 5000 rows of inv are not refreshed now: Redis does not"):
                refresher.refresh_now("inv", range(5000))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        refresher.close()


def test_table_that_is_refused_is_asked_for_once_and_all_of_it_is_left(refresher, touched_rows, client):
    client.set("delay:seat", "nonsense")
    seats = [f"{n},a" for n in range(6000)]
    with pytest.raises(CacheError, match="6000 of 6000 rows of seat are not refreshed now: Redis refuses: ") as caught:
        refresher.refresh_tables({"seat": seats, "inv": ["1"]})
    assert caught.value.left == {"seat": 6000}
    client.delete("delay:seat")
    assert touched_rows.touched() == {"inv": ["1"]}
