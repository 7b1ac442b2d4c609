import pytest

from rowcache_tasks import ArgumentError, CacheError, ConfigError, Refresher

from .settings import write_settings
from .warehouse import TABLES


@pytest.fixture
def refresher(valkey):
    refresher = Refresher(url=valkey.url_for(9), tables=TABLES, timeout=60)
    yield refresher
    refresher.close()


def test_scheduled_rows_are_due_at_once_and_counted(refresher, cache):
    assert refresher.refresh_now("inv", ["1", 2, "2", "nope"]) == 2
    assert refresher.refresh_now("inv", 3) == 1
    assert refresher.refresh_now("inv", []) == 0
    assert cache.touched() == {"inv": ["1", "2", "3"]}


def test_value_that_a_reader_filled_in_is_removed(refresher, client):
    client.set("inv:42", b"{}")
    assert refresher.refresh_now("inv", "42") == 0
    assert client.get("inv:42") is None


def test_many_rows_of_several_tables_are_touched_together(refresher, cache):
    seats = [f"{n},a" for n in range(2500)]
    cache.schedule("seat", *seats)
    assert refresher.refresh_tables({"inv": ["1"], "seat": seats, "users": []}) == 2501
    assert {table: len(row_ids) for table, row_ids in cache.touched().items()} == {"inv": 1, "seat": 2500}


def test_settings_come_from_the_configuration_module(valkey, cache, tmp_path, monkeypatch):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    refresher = Refresher(timeout=60)
    assert refresher.refresh_now("inv", "1") == 1
    refresher.close()


@pytest.mark.parametrize(("table", "row_ids"), [("nope", "1"), ("inv", ""), ("inv", ["\ud800"]), ("inv", [None])])
def test_wrong_arguments_change_nothing(refresher, cache, table, row_ids):
    with pytest.raises(ArgumentError):
        refresher.refresh_now(table, row_ids)
    assert cache.touched() == {}


def test_wrong_settings_are_a_clear_error():
    with pytest.raises(ConfigError, match="rowcache_redis_url is 'http://x': allowed is redis://"):
        Refresher(url="http://x", tables=TABLES)
    with pytest.raises(ConfigError, match="rowcache_tables is not set"):
        Refresher(url="redis://localhost")


def test_server_that_is_away_is_an_error_by_hand():
    with pytest.raises(CacheError, match="inv: Redis does not answer: "):
        Refresher(url="unix:///nowhere/valkey.sock", tables=TABLES).refresh_now("inv", "1")


def test_table_that_redis_refuses_is_an_error_and_the_others_are_touched(refresher, cache, client):
    client.set("delay:users", "nonsense")
    with pytest.raises(CacheError, match="users, inv: Redis refuses: WRONGTYPE"):
        refresher.refresh_tables({"users": ["ann"], "inv": ["1"]})
    assert cache.touched() == {"inv": ["1"]}
