"""celeryconfig.py and flowerconfig.py turn the environment into valid, safe settings."""

import ast
import os
import re
import runpy
import ssl
import sys
from pathlib import Path
from unittest import mock

import flower.options  # noqa: F401  # defines the options that flowerconfig.py reads
import pytest
from celery.app.defaults import SETTING_KEYS
from flower.inspector import Inspector
from flower.views.tasks import visible_task_columns
from kombu.transport.redis import Channel
from tornado.options import options

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ConfigError

ROOT = Path(__file__).parents[3]
SINCE_CELERY_5_7 = {"beat_enable_remote_control", "broker_pool_acquire_timeout"}
FAILOVER_OPTIONS = {"max_retries", "interval_start", "interval_step", "interval_max"}


@pytest.fixture
def load(monkeypatch):
    """Runs a configuration file with nothing but the given variables of ours in the environment."""

    def run(name="celeryconfig.py", **environment):
        for variable in [name for name in os.environ if name.startswith(("ROWCACHE_", "CELERY_", "FLOWER_"))]:
            monkeypatch.delenv(variable)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        return runpy.run_path(str(ROOT / name))

    return run


@pytest.fixture
def flower_logins():
    def patch(logins):
        return mock.patch.object(options.mockable(), "basic_auth", logins)

    return patch


# celeryconfig.py


def test_configuration_without_environment_is_valid(load):
    config = load()
    settings = parse_settings(config)
    assert settings.redis_url == "redis://localhost:6379/0"
    assert config["broker_url"] == settings.redis_url
    assert settings.tables["inv"].table == "inventory"
    assert settings.database_url is None


def test_empty_variables_count_as_unset(load):
    names = re.findall(r'"((?:ROWCACHE|CELERY)_\w+)"', (ROOT / "celeryconfig.py").read_text())
    assert parse_settings(load(**dict.fromkeys(names, ""))) == parse_settings(load())


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("ROWCACHE_REDIS_URL", "redis://cache/3", "redis_url", "redis://cache/3"),
        ("ROWCACHE_DATABASE_URL", "sqlite://", "database_url", "sqlite://"),
        ("ROWCACHE_BATCH_SIZE", "50", "batch_size", 50),
        ("ROWCACHE_LEASE", "12.5", "lease_s", 12.5),
        ("ROWCACHE_POLL_INTERVAL", "0.1", "poll_interval_s", 0.1),
        ("ROWCACHE_MAX_QUEUE", "7", "max_queue", 7),
        ("ROWCACHE_MAX_BACKOFF", "120", "max_backoff_s", 120.0),
        ("ROWCACHE_START_TIMEOUT", "0", "start_timeout_s", 0.0),
    ],
)
def test_variable_becomes_setting(load, variable, text, field, value):
    assert getattr(parse_settings(load(**{variable: text})), field) == value


def test_tables_are_read_from_json(load):
    config = load(ROWCACHE_TABLES='{"users": {"table": "app.users", "namespace": "users"}}')
    assert parse_settings(config).tables["users"].table == "app.users"


@pytest.mark.parametrize(
    "variable", ["ROWCACHE_TABLES", "ROWCACHE_BATCH_SIZE", "ROWCACHE_LEASE", "ROWCACHE_MAX_QUEUE", "ROWCACHE_REDIS_URL"]
)
def test_wrong_value_ends_in_one_line_that_names_the_setting(load, variable):
    with pytest.raises(ConfigError, match=variable.lower()) as caught:
        parse_settings(load(**{variable: "ten"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cache", "broker"),
    [
        ("redis://cache:6380/2", "redis://cache:6380/2"),
        ("redis://cache", "redis://cache/0"),
        ("redis://cache?db=4&protocol=3", "redis://cache/4"),
        ("redis://me:p%40ss@cache/1", "redis://me:p%40ss@cache/1"),
        ("redis://:x@[::1]:6379/0", "redis://:x@[::1]:6379/0"),
        ("rediss://cache/0?ssl_ca_certs=/ca.pem&health_check_interval=9", "rediss://cache/0?ssl_ca_certs=%2Fca.pem"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("unix:///run/valkey.sock?db=2&password=p/w", "redis+socket://:p%2Fw@/run/valkey.sock?virtual_host=2"),
        ("unix://me:x@/run/valkey.sock", "redis+socket://me:x@/run/valkey.sock?virtual_host=0"),
        ("localhost:6379", "localhost:6379"),
    ],
)
def test_broker_is_the_server_of_the_cache(load, cache, broker):
    assert load(ROWCACHE_REDIS_URL=cache)["broker_url"] == broker


def test_broker_of_its_own_is_taken_as_it_is(load):
    config = load(ROWCACHE_REDIS_URL="redis://cache/0", CELERY_BROKER_URL="amqp://rabbit//")
    assert config["broker_url"] == "amqp://rabbit//"
    assert set(config["broker_transport_options"]) == FAILOVER_OPTIONS
    assert "broker_use_ssl" not in config


def test_certificates_are_verified(load):
    assert load(ROWCACHE_REDIS_URL="rediss://cache/0")["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    amqps = load(CELERY_BROKER_URL="amqps://rabbit//")["broker_use_ssl"]
    assert amqps == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}


def test_every_celery_setting_exists(load):
    prefixes = ("accept_", "beat_", "broker_", "event_", "result_", "task_", "worker_")
    names = {name for name in load(ROWCACHE_REDIS_URL="rediss://cache/0") if name.startswith(prefixes)}
    assert len(names) > 20
    assert names <= SETTING_KEYS | SINCE_CELERY_5_7


def test_every_redis_transport_option_exists(load):
    names = set(load()["broker_transport_options"]) - FAILOVER_OPTIONS
    assert names <= set(Channel.from_transport_options)
    assert "retry_on_timeout" not in names


def test_flower_finds_enough_connections_to_inspect(load):
    assert load()["broker_pool_limit"] > Inspector.max_concurrency + 1


def test_nothing_but_json_is_accepted_and_no_result_stored(load):
    config = load()
    assert config["accept_content"] == ["json"]
    assert config["result_backend"] is None
    assert config["task_ignore_result"] is True


@pytest.mark.parametrize(("text", "is_on"), [("", True), ("on", True), ("1", True), ("0", False), ("False", False)])
def test_sent_events_can_be_turned_off(load, text, is_on):
    assert load(CELERY_TASK_SEND_SENT_EVENT=text)["task_send_sent_event"] is is_on


def test_configuration_imports_only_the_standard_library():
    tree = ast.parse((ROOT / "celeryconfig.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names if isinstance(node, ast.Import)}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


# flowerconfig.py


def test_flower_is_local_and_shows_arguments_and_results(load):
    config = load("flowerconfig.py")
    assert config["address"] == "127.0.0.1"
    columns = [name for name, _ in visible_task_columns(config["tasks_columns"])]
    assert columns == config["tasks_columns"].split(",")
    assert {"name", "state", "args", "kwargs", "result"} <= set(columns)


def test_every_flower_setting_exists_and_reads_its_own_variable(load):
    names = {name for name in load("flowerconfig.py") if name in options}
    assert {"address", "port", "max_tasks", "natural_time", "persistent"} <= names
    for name in names - {"address"}:
        assert load("flowerconfig.py", **{f"FLOWER_{name.upper()}": "7"})[name] == "7"


def test_flower_open_to_others_needs_a_password(load, flower_logins):
    with pytest.raises(SystemExit, match=r"0\.0\.0\.0 needs FLOWER_BASIC_AUTH"):
        load("flowerconfig.py", FLOWER_ADDRESS="0.0.0.0")
    with flower_logins(["admin:secret"]):
        assert load("flowerconfig.py", FLOWER_ADDRESS="0.0.0.0")["address"] == "0.0.0.0"


@pytest.mark.parametrize("logins", [[""], ["admin:one", "two"]])
def test_flower_refuses_a_login_without_user(load, flower_logins, logins):
    with flower_logins(logins), pytest.raises(SystemExit, match="user:password"):
        load("flowerconfig.py")
