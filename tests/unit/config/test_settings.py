import sys
from dataclasses import replace

import pytest

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, Settings, Table, load_settings, parse_settings
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import redact

GOOD = {"rowcache_redis_url": "redis://localhost/0", "rowcache_tables": {"inv": {"table": "inventory"}}}


def test_defaults_are_those_of_the_settings_class():
    settings = parse_settings(GOOD)
    assert settings == Settings(redis_url="redis://localhost/0", tables={"inv": Table("inv", "inventory")})
    assert settings.poll_interval_s == 0.05


def test_every_setting_is_read():
    settings = parse_settings(
        GOOD
        | {
            "rowcache_database_url": "sqlite://",
            "rowcache_batch_size": 7,
            "rowcache_lease": 12,
            "rowcache_poll_interval": 0.02,
            "rowcache_max_queue": 3,
            "rowcache_max_backoff": 90,
            "rowcache_start_timeout": 1,
            "rowcache_alive_file": "/tmp/alive",
            "rowcache_log_format": "json",
            "rowcache_deployment": "eu",
            "rowcache_replicas": 2,
            "rowcache_tables": {
                "users": {
                    "table": "app.users",
                    "namespace": "users",
                    "key": "user_id",
                    "columns": ["user_id", "name"],
                    "ttl": 60,
                    "missing_limit": 2,
                }
            },
            "broker_url": "is not ours",
            "rowcache_nothing": None,
        }
    )
    assert settings == Settings(
        redis_url="redis://localhost/0",
        database_url="sqlite://",
        tables={
            "users": Table(
                *("users", "app.users", "users", ("user_id",), ("user_id", "name"), 60.0, 2),
                deployment="eu",
                replicas=2,
            )
        },
        batch_size=7,
        lease_s=12.0,
        poll_interval_s=0.02,
        max_queue=3,
        max_backoff_s=90.0,
        start_timeout_s=1.0,
        alive_file="/tmp/alive",
        log_format="json",
        replicas=2,
        deployment="eu",
    )


def test_namespace_is_the_name_but_of_the_table_of_the_book():
    tables = {"inv": {"table": "a"}, "users": {"table": "b"}, "old": {"table": "c", "namespace": "x"}}
    found = parse_settings(GOOD | {"rowcache_tables": tables}).tables
    assert {name: table.namespace for name, table in found.items()} == {"inv": "", "users": "users", "old": "x"}
    assert (
        parse_settings(GOOD | {"rowcache_tables": {"a": {"table": "a", "namespace": ""}}}).tables["a"].namespace == ""
    )


def test_names_of_a_deployment_are_those_without_a_name_with_its_own_in_between():
    plain, named = parse_settings(GOOD), parse_settings(GOOD | {"rowcache_deployment": "eu"})
    names, keys = plain.names, plain.table("inv").keys
    assert (names.beat, names.processes, names.queues) == (
        "beat:",
        "processes:",
        ("rowcache.refresh", "rowcache.schedule"),
    )
    assert (names.queue, keys.queue) == ("queue:", "queue:")
    names = named.names
    assert (names.beat, names.processes) == ("beat:eu", "processes:eu")
    assert names.queues == ("rowcache.eu.refresh", "rowcache.eu.schedule")
    assert names.queue == named.table("inv").keys.queue == "queue:eu"
    assert replace(named.table("inv").keys, queue="queue:") == keys, "the keys of a table have no deployment"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rowcache_tabels": {}}, "unknown setting rowcache_tabels: did you mean rowcache_tables?"),
        ({"rowcache_xyzzy": 1}, "unknown setting rowcache_xyzzy: allowed are rowcache_redis_url, "),
        ({"rowcache_lease": -5}, "rowcache_lease is -5: allowed is a number of seconds from 1 to 3600"),
        ({"rowcache_lease": "5"}, "rowcache_lease is '5': allowed is a number of seconds from 1 to 3600"),
        ({"rowcache_lease": float("nan")}, "rowcache_lease is nan: allowed"),
        ({"rowcache_lease": True}, "rowcache_lease is True: allowed"),
        ({"rowcache_deployment": "eu 1"}, "rowcache_deployment is 'eu 1': allowed are up to 100 letters, digits, '_'"),
        ({"rowcache_deployment": "a:b"}, "rowcache_deployment is 'a:b': allowed are"),
        ({"rowcache_deployment": "a\nb"}, "rowcache_deployment is 'a\\nb': allowed are"),
        ({"rowcache_deployment": "x" * 101}, "rowcache_deployment is 'xxx"),
        ({"rowcache_deployment": 5}, "rowcache_deployment is 5: allowed are"),
        (
            {"rowcache_batch_size": MAX_BATCH_SIZE + 1},
            f"rowcache_batch_size is 1001: allowed is a whole number from 1 to {MAX_BATCH_SIZE}",
        ),
        ({"rowcache_batch_size": 1.5}, "rowcache_batch_size is 1.5: allowed is a whole number"),
        ({"rowcache_poll_interval": 0}, "rowcache_poll_interval is 0: allowed"),
        ({"rowcache_redis_url": None}, "rowcache_redis_url is not set"),
        ({"rowcache_redis_url": 5}, "rowcache_redis_url is 5: allowed is a non-empty string"),
        (
            {"rowcache_redis_url": "redis+cluster://u:pw@host/3"},
            "rowcache_redis_url is 'redis+cluster://***@host/3': allowed is redis+cluster://",
        ),
        ({"rowcache_redis_url": "redis://host/shop"}, "rowcache_redis_url is 'redis://host/shop': allowed is redis://"),
        ({"rowcache_redis_url": "redis://host:99999/0"}, "rowcache_redis_url is 'redis://host:99999/0': allowed is"),
        ({"rowcache_redis_url": "unix:///run/a.sock?db=x"}, "rowcache_redis_url is 'unix:///run/a.sock?db=x': allowed"),
        (
            {"rowcache_redis_url": "redis://host/0?credential_provider=nothing"},
            "rowcache_redis_url is 'redis://host/0?credential_provider=",
        ),
        (
            {"rowcache_redis_url": "redis://u@host/0?credential_provider=a:B"},
            "rowcache_redis_url is 'redis://***@host/0?credential_provider=",
        ),
        ({"rowcache_redis_url": "localhost"}, "rowcache_redis_url is 'localhost': allowed is redis://"),
        *[
            (
                {"rowcache_redis_url": f"redis+sentinel://{rest}"},
                f"rowcache_redis_url is 'redis+sentinel://{shown}': allow",
            )
            for rest, shown in [
                ("h1:26379,h2:26379", "h1:26379,h2:26379"),
                ("h1:26379//0", "h1:26379//0"),
                ("h1,,h2/main/0", "h1,,h2/main/0"),
                ("h1:port/main/0", "h1:port/main/0"),
                ("h1/main/shop", "h1/main/shop"),
                ("u:secret@h1/main/0?sentinels=2", "***@h1/main/0?sentinels=2"),
            ]
        ],
        ({"rowcache_database_url": ""}, "rowcache_database_url is '': allowed is a non-empty string"),
        ({"rowcache_tables": {}}, "rowcache_tables is {}: allowed is a dictionary like"),
        ({"rowcache_tables": ["inv"]}, "rowcache_tables is ['inv']: allowed is a dictionary like"),
        ({"rowcache_tables": {"": {"table": "a"}}}, "rowcache_tables['']: a table's name must be"),
        ({"rowcache_tables": {"inv": "inventory"}}, "rowcache_tables['inv'] is 'inventory': allowed is a dictionary"),
        ({"rowcache_tables": {"inv": {}}}, "rowcache_tables['inv']['table'] is None: allowed is a non-empty string"),
        (
            {"rowcache_tables": {"inv": {"table": "a", "colums": ["x"]}}},
            "rowcache_tables['inv']: unknown option 'colums': did you mean columns?",
        ),
        (
            {"rowcache_tables": {"a": {"table": "a"}, "b": {"table": "b", "namespace": "a"}}},
            "rowcache_tables: 'a' and 'b' are on the same Redis keys (namespace 'a')",
        ),
        (
            {"rowcache_tables": {"a b": {"table": "a"}}},
            "rowcache_tables['a b']: 'namespace' is not given, and the name is 'a b': allowed are letters",
        ),
        (
            {"rowcache_tables": {"queue": {"table": "a"}}},
            "rowcache_tables['queue']: 'namespace' is not given, and the name is 'queue': this name is a Redis key of",
        ),
        (
            {"rowcache_tables": {"inv": {"table": "a", "namespace": "a:b"}}},
            "rowcache_tables['inv']['namespace'] is 'a:b': allowed are letters",
        ),
        (
            {"rowcache_tables": {"inv": {"table": "a", "namespace": "schedule"}}},
            "rowcache_tables['inv']['namespace'] is 'schedule': this name is a Redis key of another kind",
        ),
        ({"rowcache_tables": {"inv": {"table": "a", "key": []}}}, "rowcache_tables['inv']['key'] is []: allowed"),
        (
            {"rowcache_tables": {"inv": {"table": "a", "columns": ["x", "x"]}}},
            "rowcache_tables['inv']['columns'] is ['x', 'x']: a column is named twice",
        ),
        ({"rowcache_tables": {"inv": {"table": "a", "ttl": -1}}}, "rowcache_tables['inv']['ttl'] is -1: allowed"),
        (
            {"rowcache_tables": {"inv": {"table": "a", "missing_limit": 0}}},
            "rowcache_tables['inv']['missing_limit'] is 0: allowed",
        ),
    ],
)
def test_wrong_setting_gives_one_line_that_names_it(change, message):
    with pytest.raises(ConfigError) as caught:
        parse_settings(GOOD | change)
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert "pw" not in text


def test_unknown_table_is_an_error_that_lists_the_tables():
    with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables: found 'inv'"):
        parse_settings(GOOD).table("nope")


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:secret@host:6379/0",
        "redis://:sec/secret@host/0",
        "redis://u:secret@secret@host/0",
        "unix:///run/redis.sock?db=0&password=secret",
        "user:secret@host:6379/0",
        "redis:/:secret@host",
        "postgresql+psycopg://u:secret@host/db",
    ],
)
def test_redact_hides_passwords(url):
    assert "secret" not in redact(url)


def test_settings_come_from_the_module_that_celery_uses(tmp_path, monkeypatch):
    lines = ["rowcache_redis_url = 'redis://here/3'", "rowcache_tables = {'inv': {'table': 'inventory'}}"]
    (tmp_path / "shop_settings.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "shop_settings")
    try:
        assert load_settings().redis_url == "redis://here/3"
    finally:
        sys.modules.pop("shop_settings", None)


def test_missing_configuration_module_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "not_there")
    with pytest.raises(ConfigError, match=r"configuration module 'not_there' was not found in .*: set CELERY_CONFIG"):
        load_settings()
