"""SQLAlchemy's URL of a database of Django."""

import pytest
from sqlalchemy import make_url

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.orm.django import database_url

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}


@pytest.mark.parametrize(
    ("database", "url"),
    [
        (POSTGRESQL, "postgresql+psycopg:///shop"),
        (
            POSTGRESQL | {"USER": "web", "PASSWORD": "p@ss/w%rd", "HOST": "db", "PORT": "5433"},
            "postgresql+psycopg://web:p%40ss%2Fw%25rd@db:5433/shop",
        ),
        (POSTGRESQL | {"HOST": "/run/postgresql"}, "postgresql+psycopg:///shop?host=%2Frun%2Fpostgresql"),
        (
            POSTGRESQL
            | {"HOST": "db", "OPTIONS": {"sslmode": "require", "pool": {"min_size": 2}, "isolation_level": 3}},
            "postgresql+psycopg://db/shop?sslmode=require",
        ),
        ({"ENGINE": "django.contrib.gis.db.backends.postgis", "NAME": "geo"}, "postgresql+psycopg:///geo"),
        ({"ENGINE": "django_prometheus.db.backends.mysql", "NAME": "a", "HOST": ""}, "mysql+pymysql://localhost/a"),
        (
            {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "a",
                "HOST": "/run/mysqld.sock",
                "OPTIONS": {"charset": "utf8mb4"},
            },
            "mysql+pymysql:///a?charset=utf8mb4&unix_socket=%2Frun%2Fmysqld.sock",
        ),
        (
            {
                "ENGINE": "django.db.backends.mysql",
                "NAME": "a",
                "HOST": "db",
                "OPTIONS": {"ssl": {"ca": "/etc/ca.pem"}},
            },
            "mysql+pymysql://db/a?ssl_ca=%2Fetc%2Fca.pem",
        ),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/lib/shop.db"}, "sqlite:////var/lib/shop.db"),
    ],
)
def test_url_leads_to_the_database_of_django(database, url):
    assert make_url(database_url(database)) == make_url(url)


@pytest.mark.parametrize("engine", ["django.db.backends.oracle", "", "mssql"])
def test_engine_without_a_driver_is_named(engine):
    with pytest.raises(ConfigError, match=r"ENGINE is .*: known are postgresql, .*rowcache_database_url"):
        database_url({"ENGINE": engine, "NAME": "x"})
