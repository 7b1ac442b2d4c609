"""Row id of a mapped object whose key has many types, and of its row in a scan."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session
from support.orm_models import Reading

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.orm.mapped_key import MappedKey

AT = datetime(2026, 1, 2, 3, 4, 5, 500000)


def row_ids_of_a_reading(engine, url, *, moment):
    """Store a reading; return its row id as the hook has it, and those of a scan."""
    return row_ids_of(engine, url, Reading(is_last=True, at=AT, moment=moment, token=b"\0\xff", tag=b"a"))


def row_ids_of(engine, url, item):
    """Store a mapped object; return its row id as the hook has it, and those of a scan."""
    mapped = type(item)
    mapped.__table__.create(engine, checkfirst=True)
    table = Table(mapped.__tablename__, mapped.__tablename__, key=mapped.KEY)
    with Session(engine, expire_on_commit=False) as session:
        session.add(item)
        session.commit()
        hooked = MappedKey(mapped, table).row_id([getattr(item, name) for name in mapped.KEY], engine.dialect)
    source_engine = create_source_engine(url, statement_timeout_s=5)
    scanned = list(Source(source_engine, table).stream_row_ids(9))
    source_engine.dispose()
    return hooked, scanned


MOMENT = AT.replace(tzinfo=UTC)
