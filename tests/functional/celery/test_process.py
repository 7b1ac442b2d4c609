"""A worker process that reads tables of several databases."""

import sqlite3

import pytest

from rowcache_tasks.celery.process import Runtime
from rowcache_tasks.celery.startup import check_tables
from rowcache_tasks.config.settings import parse_settings
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
