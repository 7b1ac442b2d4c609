import os

import pytest

from rowcache_tasks import ArgumentError, CacheError, ConfigError, RowCache
from rowcache_tasks.config import Table
from rowcache_tasks.schedule import Schedule


@pytest.fixture
def inv(valkey, client):
    cache = RowCache("inv", url=valkey.url_for(9))
    yield cache
    cache.close()


def fill(schedule, values):
    schedule.put_rows(dict.fromkeys(values, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], values)


def test_get_returns_the_row_as_a_dictionary(inv, schedule):
    fill(schedule, {"42": '{"id":42,"name":"żółć"}'.encode()})
    assert inv.get("42") == {"id": 42, "name": "żółć"}
    assert inv.get(42) == inv.get("42")


def test_row_id_that_is_not_utf8_is_read_with_its_escapes(inv, client):
    client.set(b"inv:\xff", b'{"id":1}')
    assert inv.get("\udcff") == {"id": 1}
    assert inv.age("\udcff") is None


def test_get_of_a_row_that_is_not_cached_is_none(inv):
    assert inv.get("42") is None


def test_get_many_answers_in_the_order_asked_with_none_for_missing(inv, schedule):
    fill(schedule, {"1": b'{"id":1}', "2": b'{"id":2}'})
    assert list(inv.get_many(["2", "nope", "1"]).items()) == [("2", {"id": 2}), ("nope", None), ("1", {"id": 1})]
    assert inv.get_many([]) == {}


def test_age_is_the_time_since_the_last_accepted_commit(inv, schedule, client):
    fill(schedule, {"42": b"{}"})
    assert 0 <= inv.age("42") < 10
    client.zincrby("refreshed:", -60, "42")
    assert 60 <= inv.age("42") < 70


def test_age_of_a_row_that_is_not_cached_is_none(inv, schedule):
    schedule.put_rows({"42": (100, 0)})
    assert inv.age("42") is None


def test_namespace_selects_the_keys(valkey, client):
    fill(Schedule(client, Table("users", "users", namespace="users")), {"1": b'{"id":1}'})
    assert RowCache("users", url=valkey.url_for(9), namespace="users").get("1") == {"id": 1}
    assert RowCache("users", url=valkey.url_for(9)).get("1") is None


def test_settings_come_from_the_configuration_module(valkey, client, schedule, tmp_path, monkeypatch):
    fill(schedule, {"42": b'{"id":42}'})
    tables = {"inv": {"table": "inventory"}}
    (tmp_path / "reader_settings.py").write_text(
        f"rowcache_redis_url = {valkey.url_for(9)!r}\nrowcache_tables = {tables!r}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "reader_settings")
    assert RowCache("inv").get("42") == {"id": 42}
    with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables"):
        RowCache("nope")


def test_wrong_url_is_a_clear_error():
    with pytest.raises(ConfigError, match="rowcache_redis_url is 'http://x': allowed is redis://"):
        RowCache("inv", url="http://x")


def test_no_connection_is_opened_before_the_first_read():
    cache = RowCache("inv", url="unix:///nowhere/valkey.sock")
    with pytest.raises(CacheError):
        cache.get("42")


def test_reading_works_in_a_forked_child(inv, schedule):
    fill(schedule, {"42": b'{"id":42}'})
    assert inv.get("42") == {"id": 42}
    child = os.fork()
    if child == 0:
        os._exit(0 if all(inv.get("42") == {"id": 42} for _ in range(100)) else 1)
    assert all(inv.get("42") == {"id": 42} for _ in range(100))
    assert os.waitpid(child, 0)[1] == 0
