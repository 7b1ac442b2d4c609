"""celeryconfig.py turns the environment into valid settings; the package has safe defaults of Celery and Flower."""

import ast
import os
import runpy
import ssl
import sys
from pathlib import Path

import pytest
from celery.app.defaults import SETTING_KEYS
from flower.inspector import Inspector
from kombu.transport.redis import Channel
from support.documented import configuration

from rowcache_tasks.celery.defaults import DEFAULTS, package_defaults
from rowcache_tasks.config.settings import SETTINGS, parse_settings
from rowcache_tasks.config.source import read_environment
from rowcache_tasks.errors import ConfigError

ROOT = Path(__file__).parents[3]
SINCE_CELERY_5_7 = {"beat_enable_remote_control", "broker_pool_acquire_timeout"}
FAILOVER_OPTIONS = {"max_retries", "interval_start", "interval_step", "interval_max"}


@pytest.fixture
def load(monkeypatch):
    """Runs celeryconfig.py with nothing but the given variables of ours in the environment."""

    def run(**environment):
        for variable in [name for name in os.environ if name.startswith(("ROWCACHE_", "CELERY_", "FLOWER_"))]:
            monkeypatch.delenv(variable)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        config = runpy.run_path(str(ROOT / "celeryconfig.py"))
        return config | read_environment(SETTINGS, config)

    return run


def test_configuration_without_environment_is_valid(load):
    config = load()
    settings = parse_settings(config)
    assert settings.redis_url == "redis://localhost:6379/0"
    assert package_defaults(settings.redis_url, None)["broker_url"] == settings.redis_url
    assert settings.tables["inv"].table == "inventory"
    assert settings.database_url is None


def test_configuration_without_environment_is_that_of_the_readme(load):
    shown, ours = {"rowcache_redis_url": "redis://localhost:6379/0"}, load()
    exec(configuration(), shown)
    assert parse_settings(shown) == parse_settings(ours)
    assert {name: value for name, value in ours.items() if name in SETTING_KEYS} == {"task_send_sent_event": True}
    assert DEFAULTS["task_send_sent_event"] is True


def test_empty_variables_count_as_unset(load):
    names = [*map(str.upper, SETTINGS), "CELERY_TASK_SEND_SENT_EVENT"]
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
        ("redis+sentinel://h1:1,[::1]/main/2", "sentinel://h1:1/2;sentinel://[::1]:26379/2"),
        ("redis://h?credential_provider=a.b:C", "redis://h/0?credential_provider=a.b%3AC"),
        ("redis+sentinel://me:p%2Fw@h1/main", "sentinel://me:p%2Fw@h1:26379/0"),
    ],
)
def test_broker_is_the_server_of_the_cache(cache, broker):
    assert package_defaults(cache, None)["broker_url"] == broker


def test_broker_of_its_own_is_taken_as_it_is():
    config = package_defaults("redis://cache/0", "amqp://rabbit//")
    assert "broker_url" not in config
    assert set(config["broker_transport_options"]) == FAILOVER_OPTIONS | {"confirm_publish"}
    assert "broker_use_ssl" not in config


def test_certificates_are_verified():
    assert package_defaults("rediss://cache/0", None)["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    amqps = package_defaults("redis://cache/0", "amqps://rabbit//")["broker_use_ssl"]
    assert amqps == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}


def test_broker_asks_the_sentinels_of_the_cache():
    options = "ssl_ca_certs=/ca.pem&sentinel_username=me&sentinel_password=p%2Fw"
    config = package_defaults(f"rediss+sentinel://h1,h2/main/0?{options}", None)
    tls = {"ssl_ca_certs": "/ca.pem"}
    assert config["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED} | tls
    assert config["broker_transport_options"]["master_name"] == "main"
    login = {"username": "me", "password": "p/w"}
    assert config["broker_transport_options"]["sentinel_kwargs"] == login | {"ssl": True} | tls
    named = package_defaults("redis+sentinel://h1/main", "sentinel://h1/1")["broker_transport_options"]
    assert named["master_name"] == "main"


def test_broker_with_sentinels_of_its_own_has_no_option_of_the_cache():
    config = package_defaults("rediss+sentinel://h1,h2/main/0?sentinel_password=x", "sentinel://:x@h3/1;sentinel://h2")
    assert "broker_use_ssl" not in config
    assert not {"master_name", "sentinel_kwargs"} & set(config["broker_transport_options"])


def test_every_celery_setting_exists():
    names = set(package_defaults("rediss://cache/0", None))
    assert len(names) > 20
    assert names <= SETTING_KEYS | SINCE_CELERY_5_7


def test_every_redis_transport_option_exists():
    names = set(package_defaults("redis://cache/0", None)["broker_transport_options"]) - FAILOVER_OPTIONS
    assert names <= set(Channel.from_transport_options)
    assert "retry_on_timeout" not in names


def test_flower_finds_enough_connections_to_inspect():
    assert DEFAULTS["broker_pool_limit"] > Inspector.max_concurrency + 1


def test_nothing_but_json_is_accepted_and_no_result_stored():
    assert DEFAULTS["accept_content"] == ["json"]
    assert DEFAULTS["result_backend"] is None
    assert DEFAULTS["task_ignore_result"] is True


@pytest.mark.parametrize(("text", "is_on"), [("", True), ("on", True), ("1", True), ("0", False), ("False", False)])
def test_sent_events_can_be_turned_off(load, text, is_on):
    assert load(CELERY_TASK_SEND_SENT_EVENT=text)["task_send_sent_event"] is is_on


def test_configuration_imports_only_the_standard_library():
    tree = ast.parse((ROOT / "celeryconfig.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names if isinstance(node, ast.Import)}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
