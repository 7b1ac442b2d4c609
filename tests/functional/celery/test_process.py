"""A worker process that reads tables of several databases."""

import os
import sqlite3

import pytest
from support.in_process_worker import in_process_worker

from rowcache_tasks.celery.process import Runtime, current_runtime
from rowcache_tasks.celery.startup import check_tables
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.database import engine
from rowcache_tasks.errors import ConfigError


def test_each_table_is_read_from_its_own_database(tmp_path):
    for name in ("shop", "crm"):
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, place TEXT)")
            connection.execute("INSERT INTO item VALUES (1, ?)", [name])
        connection.close()
    raw = {
        "rowcache_redis_url": "redis://localhost",
        "rowcache_database_url": f"sqlite:///{tmp_path}/shop",
        "rowcache_databases": {"crm": f"sqlite:///{tmp_path}/crm"},
        "rowcache_tables": {"inv": {"table": "item"}, "users": {"table": "item", "namespace": "u", "database": "crm"}},
    }
    settings = parse_settings(raw)
    for tables in settings.by_database().values():
        check_tables(settings, tables)
    runtime = Runtime(settings)
    found = {name: runtime.source(name).fetch(["1"]).rows["1"][1] for name in settings.tables}
    runtime.dispose()
    assert found == {"inv": "shop", "users": "crm"}


@pytest.mark.parametrize(
    ("databases", "message"),
    [
        ({"crm": "sqlite://"}, r"\['database'\] is 'crmm': it is not in rowcache_databases: did you mean crm\?"),
        (None, "it is not in rowcache_databases, which is not set"),
        (5, "rowcache_databases is a int: allowed is a dictionary of name -> SQLAlchemy URL"),
        ({"crm": 7}, r"rowcache_databases\['crm'\] is 7: allowed is a non-empty string"),
    ],
)
def test_database_that_is_not_named_is_refused_with_one_line(databases, message):
    raw = {"rowcache_redis_url": "redis://h", "rowcache_tables": {"inv": {"table": "item", "database": "crmm"}}}
    with pytest.raises(ConfigError, match=message):
        parse_settings(raw | {"rowcache_databases": databases})


@pytest.mark.parametrize(("may_be", "warnings"), [(False, 1), (True, 0)])
def test_replica_is_warned_of_unless_all_tables_may_be_read_from_one(standby, caplog, monkeypatch, may_be, warnings):
    monkeypatch.setattr(engine, "warned_urls", set())
    tables = {"inv": {"table": "replicated", "replica": may_be}}
    raw = {"rowcache_redis_url": "redis://", "rowcache_database_url": standby.url, "rowcache_tables": tables}
    runtime = Runtime(parse_settings(raw))
    runtime.source("inv").load()
    runtime.dispose()
    assert caplog.text.count("leads to a replica") == warnings


def test_forked_child_has_a_runtime_of_its_own(valkey, tmp_path, monkeypatch):
    tables = {"inv": {"table": "item"}}
    with in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), tables=tables) as runtime:
        child = os.fork()
        if child == 0:
            os._exit(0 if current_runtime() is not runtime else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert current_runtime() is runtime
