"""Differences between databases; one dialect for each."""

from rowcache_tasks.database.dialects.dialect import Dialect, SelectByKeys, SourceColumn
from rowcache_tasks.database.dialects.mysql import MySQL
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.database.dialects.sqlite import SQLite

__all__ = ["Dialect", "SelectByKeys", "SourceColumn", "dialect_of"]

DIALECTS: dict[str, type[Dialect]] = {"postgresql": PostgreSQL, "mysql": MySQL, "mariadb": MySQL, "sqlite": SQLite}


def dialect_of(backend: str) -> Dialect:
    """Choose by SQLAlchemy's backend name; the portable dialect for all others."""
    return DIALECTS.get(backend, Dialect)()
