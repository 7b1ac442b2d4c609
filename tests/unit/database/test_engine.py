import sys

import pytest

from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.errors import ConfigError


def create(url):
    return create_source_engine(url, statement_timeout_s=1)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://nowhere.invalid/db", "psycopg"),
        ("postgresql+psycopg://nowhere.invalid/db", "psycopg"),
        ("mysql+pymysql://nowhere.invalid/db", "pymysql"),
        ("mariadb+pymysql://nowhere.invalid/db", "pymysql"),
        ("sqlite:////nowhere/db", "pysqlite"),
    ],
)
def test_engine_is_lazy(url, driver):
    assert create(url).driver == driver


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is not a URL that SQLAlchemy can open"),
        ("me:hunter2@host", "is not a URL that SQLAlchemy can open"),
        ("postgres://me:hunter2@host/db", "is not a URL that SQLAlchemy can open"),
        ("postgresql+psycopg2://me:hunter2@host/db", "asks for the driver 'psycopg2': .* write postgresql"),
        ("postgresql+psycopg://me:hunter2@host/db?prepare_threshold=x", "prepare_threshold 'x': allowed is a whole"),
        ("mysql+aiomysql://me:hunter2@host/db", "asyncio driver|needs the module"),
    ],
)
def test_url_that_cannot_be_used_is_one_line_without_the_password(url, message):
    with pytest.raises(ConfigError, match=f"^rowcache_database_url .*({message})") as caught:
        create(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_driver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(ConfigError, match=r"needs the module 'MySQLdb', which is not installed"):
        create("mysql://host/db")


def test_driver_that_cannot_be_imported_is_named_with_its_own_extra(monkeypatch, tmp_path):
    (tmp_path / "pymysql.py").write_text('raise ImportError("no TLS library")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pymysql", raising=False)
    with pytest.raises(ConfigError, match=r"cannot start: no TLS library: pip install 'rowcache-tasks\[mysql\]'"):
        create("mysql+pymysql://host/db")


def test_postgresql_url_may_overrule_our_connection_settings():
    _, given = create("postgresql://host/db?connect_timeout=60").dialect.create_connect_args(
        create("postgresql://host/db?connect_timeout=60").url
    )
    assert given["connect_timeout"] == "60"


@pytest.mark.parametrize("option", ["bogus=1", "charset=bogus"])
def test_option_that_the_driver_refuses_is_one_line_without_the_password(option):
    with pytest.raises(ConfigError, match=r"^rowcache_database_url mysql.* refuses an option of the URL: ") as caught:
        create(f"mysql+pymysql://me:hunter2@nowhere.invalid/db?{option}").connect()
    assert "hunter2" not in str(caught.value)
