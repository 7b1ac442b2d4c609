"""Any configuration becomes Settings, or a ConfigError of one line without a password."""

import json
import os
import runpy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from support.hostile_values import any_json, any_object, assert_one_clear_line, numbers, reproducible, texts
from support.project import ROOT

from rowcache_tasks.config.settings import SETTINGS, Settings, parse_settings
from rowcache_tasks.config.table import TABLE_OPTIONS
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import redact
from rowcache_tasks.schedule.connection import connect

GOOD = {"rowcache_redis_url": "redis://localhost/0", "rowcache_tables": {"inv": {"table": "inventory"}}}
SECRET = "s3cret"
names = st.sampled_from(sorted(SETTINGS))
VARIABLES = [name.upper() for name in SETTINGS]

logins = st.one_of(
    st.builds(
        "{}://{}:{}@{}{}".format,
        st.sampled_from(["redis", "rediss", "unix", "amqp", "postgresql+psycopg", "sqlite", "", "redis+cluster"]),
        st.sampled_from(["", "user", "u%40"]),
        st.just(SECRET),
        st.sampled_from(
            ["host", "host:6379", "host:port", "[::1", "[::1]:99999", "h" * 70, "", "a b", "\udcff", "\uff11"]
        ),
        st.sampled_from(
            ["", "/0", "/x", "/-1", "?db=x", "/0?socket_timeout=x", "?foo=1", "/0?db=1&db=٢", "#x", "/%00"]
        ),
    ),
)
urls = texts.map(lambda text: text.replace(SECRET, "")) | logins
tables = st.dictionaries(
    texts,
    st.dictionaries(st.sampled_from(sorted(TABLE_OPTIONS)) | texts, any_object, max_size=4) | any_object,
    max_size=2,
)


def to_json(value):
    """Write a value as JSON; Python refuses some numbers."""
    try:
        return json.dumps(value)
    except ValueError:
        return "9" * 5000


def assert_refused(message):
    assert_one_clear_line(message)
    assert "rowcache_" in message
    assert SECRET not in message


def settings_of(raw):
    """Return the settings; None when they are refused with a correct message."""
    try:
        return parse_settings(raw)
    except ConfigError as error:
        assert_refused(str(error))
        return None


@reproducible
@given(st.dictionaries(names | texts.map("rowcache_".__add__) | numbers, any_object))
def test_any_mapping_gives_settings_or_one_line(raw):
    assert isinstance(settings_of(raw), Settings | None)


@reproducible
@given(names, any_object | urls | tables)
def test_any_value_of_a_setting_gives_settings_or_one_line_that_names_it(name, value):
    if settings_of(GOOD | {name: value}) is None:
        with pytest.raises(ConfigError, match=name):
            parse_settings(GOOD | {name: value})


@reproducible
@given(urls, st.sampled_from(["{}", "b'{}'", "['{}']"]))
def test_url_that_is_accepted_makes_a_client_and_an_engine_or_one_line(url, form):
    settings = settings_of(GOOD | {"rowcache_redis_url": url})
    if settings:
        connect(settings.redis_url, "test").close()
    value = url if form == "{}" else [url] if form[0] == "[" else url.encode("utf-8", "replace")
    settings_of(GOOD | {"rowcache_redis_url": value, "rowcache_database_url": url})
    settings = settings_of(GOOD | {"rowcache_database_url": value})
    if settings and settings.database_url:
        try:
            assert isinstance(create_source_engine(settings.database_url, statement_timeout_s=1), Engine)
        except ConfigError as error:
            assert_refused(str(error))


@reproducible
@given(texts, texts)
def test_redact_hides_a_password_whatever_stands_around_it(before, after):
    for url in (
        f"redis://{before}:{SECRET}@host{after}",
        f"redis://host?password={SECRET}{after}",
        f"{before}{SECRET}@x",
    ):
        assert SECRET not in redact(url)


@reproducible
@given(st.sampled_from(VARIABLES), any_json.map(to_json) | urls)
def test_any_text_in_a_variable_gives_settings_or_one_line(variable, text):
    kept = {name: value for name, value in os.environ.items() if name.startswith(("ROWCACHE_", "CELERY_"))}
    for name in kept:
        del os.environ[name]
    try:
        os.environ[variable] = os.fsdecode(text.replace("\0", "").encode("utf-8", "surrogatepass"))[:100_000]
        settings_of(runpy.run_path(str(ROOT / "celeryconfig.py")))
    finally:
        del os.environ[variable]
        os.environ.update(kept)


@pytest.mark.parametrize("text", ["[" * 100_000, "redis://[::1", "1e999", '{"inv": ' * 10_000, "NaN", "9" * 5000])
@pytest.mark.parametrize("variable", VARIABLES)
def test_variable_that_python_itself_cannot_read_gives_one_line(variable, text, monkeypatch):
    monkeypatch.setenv(variable, text)
    settings_of(runpy.run_path(str(ROOT / "celeryconfig.py")))


@pytest.mark.parametrize(
    "url",
    [
        "REDIS://host/0",
        "redis://host/0?foo=1",
        "redis://host/0?decode_responses=true",
        "redis://host/0?socket_timeout=soon",
        "redis://host/0?health_check_interval=1.5",
        "redis://host/0?max_connections=-1",
        "redis://host/0?protocol=9",
        "redis://host/1.5",
        "redis://host/٢",
        "redis://host/0?ssl_cert_reqs=none",
        "redis://" + "h" * 70 + "/0",
        "redis://ho\nst/0",
    ],
)
def test_redis_url_that_would_fail_later_is_refused(url):
    with pytest.raises(ConfigError, match="rowcache_redis_url is"):
        parse_settings(GOOD | {"rowcache_redis_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user:p%40ss@[::1]:6380/15?socket_timeout=2.5&socket_connect_timeout=1&health_check_interval=10",
        "rediss://host/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=3&username=u&password=p",
    ],
)
def test_redis_url_that_redis_py_reads_is_accepted(url):
    connect(parse_settings(GOOD | {"rowcache_redis_url": url}).redis_url, "test").close()
