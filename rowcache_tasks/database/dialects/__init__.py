"""Own what differs between databases: sessions, catalogs, types, the matching of keys, the meaning of errors.

Must not know Redis, Celery or what the rows are for.
"""

from rowcache_tasks.database.dialects.dialect import Dialect, Reader, SourceColumn
from rowcache_tasks.database.dialects.mysql import MySQL
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.database.dialects.sqlite import SQLite

__all__ = ["Dialect", "Reader", "SourceColumn", "dialect_of"]

DIALECTS: dict[str, type[Dialect]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
    "sqlite": SQLite,
}


def dialect_of(backend: str) -> Dialect:
    """Choose by SQLAlchemy's backend name; unknown ones are served by what every database has in common."""
    return DIALECTS.get(backend, Dialect)()
