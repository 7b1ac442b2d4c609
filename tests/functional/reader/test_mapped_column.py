"""Each type of a mapped column: what is read from a cached row is what a Session loads."""

import enum
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    create_engine,
    inspect,
    types,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import Session, registry
from support.scratch_database import encoded_row

from rowcache_tasks.errors import RowTypeError
from rowcache_tasks.reader.types.decoder import RowDecoder


class Mood(enum.Enum):
    SO_SO = "so so"
    GLAD = "glad"


class Cents(TypeDecorator):
    """A type of the application's own."""

    impl = Integer
    cache_ok = True

    def process_result_value(self, value, dialect):
        return Decimal(-1) if value is None else Decimal(value) / 100


class Passed(TypeDecorator):
    impl = Uuid
    cache_ok = True


def by_value(members):
    return [member.value for member in members]


IS_2_1 = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1)
"""A Session of SQLAlchemy 2.0.40 fails on a NULL among the members of an array of an Enum."""

PORTABLE = {
    "boolean": (Boolean, "true"),
    "numeric_as_float": (Numeric(8, 2, asdecimal=False), "12.5"),
    "float_as_is": (Float, "0.1"),
    "text": (Text, "'naïve ☃'"),
    "null": (Text, "NULL"),
    "uuid": (Uuid, "'6ba7b8109dad11d180b400c04fd430c8'"),
    "uuid_as_text": (Uuid(as_uuid=False), "'6ba7b8109dad11d180b400c04fd430c8'"),
    "uuid_passed": (Passed, "'6ba7b8109dad11d180b400c04fd430c8'"),
    "date": (Date, "'2026-11-22'"),
    "datetime": (DateTime, "'2026-11-22 19:39:19.123456'"),
    "time": (Time, "'19:39:19.000000'"),
    "enum_by_name": (Enum(Mood, name="by_name"), "'GLAD'"),
    "enum_by_value": (Enum(Mood, name="by_value", values_callable=by_value), "'so so'"),
    "enum_of_texts": (Enum("a", "b", name="of_texts"), "'b'"),
    "json": (JSON, """'{"a": [1, null]}'"""),
    "cents": (Cents, "1250"),
    "no_cents": (Cents, "NULL"),
}

POSTGRESQL = {
    "small": (types.SmallInteger, "-32768"),
    "exact": (Numeric(30, 10), "12345678901234567890.1234567890"),
    "blob": (LargeBinary, r"'\x00ff10'"),
    "timestamptz": (DateTime(timezone=True), "'2026-11-22 21:39:19.123456+02'"),
    "timetz": (Time(timezone=True), "'19:39:19-05:30'"),
    "interval": (Interval, "'3 days 04:05:06.7'"),
    "interval_back": (postgresql.INTERVAL, "'-1 day -04:05:06.7'"),
    "interval_mixed": (postgresql.INTERVAL, "'1 day -04:00'"),
    "jsonb": (postgresql.JSONB, "'[1, {}]'"),
    "numbers": (ARRAY(Integer), "'{1,NULL,3}'"),
    "matrix": (ARRAY(Numeric, dimensions=2), "'{{1.50,2},{3,4}}'"),
    "moods": (ARRAY(Enum(Mood, name="by_name")), "'{GLAD,NULL}'" if IS_2_1 else "'{GLAD}'"),
    "tuples": (ARRAY(Text, as_tuple=True), "'{a,b}'"),
    "times": (ARRAY(DateTime(timezone=True)), "'{2026-11-22 19:39:19+00}'"),
    "cents_list": (ARRAY(Cents), "'{1,NULL}'"),
    "inet": (postgresql.INET, "'10.0.0.1'"),
    "inet_net": (postgresql.INET, "'10.0.0.1/8'"),
    "cidr": (postgresql.CIDR, "'10.0.0.0/8'"),
    "mac": (postgresql.MACADDR, "'08:00:2b:01:02:03'"),
    "oid": (postgresql.OID, "4294967295"),
    "citext": (postgresql.CITEXT, "'Ab'"),
    "positive": (postgresql.DOMAIN("positive", Integer), "7"),
    "money": (postgresql.MONEY, "12.5"),
    "words": (postgresql.TSVECTOR, "'fat cat'"),
}

UNREAD = {
    "range": (postgresql.INT4RANGE, "'[1,3]'"),
    "ranges": (ARRAY(postgresql.INT4RANGE), "'{}'"),
    "pairs": (postgresql.HSTORE, "'a=>1'"),
    "pickled": (PickleType, r"'\x80044b2a2e'"),
}
"""What a Session makes of these cannot be made of the JSON; of a pickle, it must not."""


def store(db, columns):
    """Make a table of the columns with one row of the literals, and map it."""
    table = Table("typed", MetaData(), Column("id", Integer, primary_key=True))
    for name, (sql_type, _) in columns.items():
        table.append_column(Column(name, sql_type))
    engine = create_engine(db.url)
    with engine.begin() as connection:
        if db.url.startswith("postgresql"):
            for extension in ("citext", "hstore"):
                connection.exec_driver_sql(f"CREATE EXTENSION {extension}")
        table.metadata.create_all(connection)
        literals = ", ".join(literal for _, literal in columns.values())
        connection.exec_driver_sql(f"INSERT INTO typed VALUES (42, {literals})")
    engine.dispose()
    mapped = type("Typed", (), {})
    registry().map_imperatively(mapped, table)
    return mapped


def read_as_a_session_would(db, session, columns):
    mapped = store(db, columns)
    found = RowDecoder("typed", mapped).decode("42", encoded_row(db, "typed"))
    loaded = session.get(mapped, 42)
    for name in columns:
        expected = getattr(loaded, name)
        assert (name, getattr(found, name)) == (name, expected)
        assert type(getattr(found, name)) is type(expected), name
    return loaded


def test_portable_columns_are_what_a_session_loads(db, session):
    loaded = read_as_a_session_would(db, session, PORTABLE)
    assert loaded.enum_by_name is Mood.GLAD
    assert loaded.no_cents == Decimal(-1)


def test_columns_of_postgresql_are_what_a_session_loads(pg):
    engine = create_engine(pg.url)
    with Session(engine) as session:
        loaded = read_as_a_session_would(pg, session, POSTGRESQL)
        assert loaded.interval_back == -timedelta(1, hours=4, minutes=5, seconds=6.7)
        assert loaded.cents_list == [Decimal("0.01"), Decimal(-1)]
    engine.dispose()


def test_column_that_cannot_be_read_from_json_stays_unloaded(pg):
    mapped = store(pg, UNREAD)
    found = RowDecoder("typed", mapped).decode("42", encoded_row(pg, "typed"))
    assert inspect(found).unloaded == set(UNREAD)
    engine = create_engine(pg.url)
    with Session(engine) as session:
        merged = session.merge(found, load=False)
        assert merged.pickled == 42
        assert str(merged.range) == "[1,4)"
    engine.dispose()


@pytest.mark.parametrize(
    ("sql_type", "value", "expected"),
    [
        (postgresql.INTERVAL, '"P1M"', "Invalid ISO8601 duration without years and months"),
        (postgresql.INTERVAL, '"P999999999999D"', "Duration is out of range"),
        (Boolean, "2", "Expected `bool`, got `int`"),
        (Enum(Mood), '"secret"', "Invalid enum value, found a string of 6 characters"),
        (ARRAY(Date), '["secret"]', "Invalid RFC3339 encoded date, found an array"),
        (postgresql.INET, '"secret"', "ValueError in the column's type, found a string of 6 characters"),
    ],
)
def test_value_that_the_column_cannot_hold_is_a_row_type_error(sql_type, value, expected):
    table = Table("typed", MetaData(), Column("id", Integer, primary_key=True), Column("v", sql_type))
    mapped = type("Typed", (), {})
    registry().map_imperatively(mapped, table)
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("typed", mapped).decode("1", f'{{"id":1,"v":{value}}}')
    assert f"row '1' of typed does not fit Typed: column 'v': {expected}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_booleans_of_mysql_are_booleans():
    table = Table(
        "typed", MetaData(), Column("id", Integer, primary_key=True), Column("v", Boolean), Column("s", mysql.SET("a"))
    )
    mapped = type("Typed", (), {})
    registry().map_imperatively(mapped, table)
    row = RowDecoder("typed", mapped).decode("1", '{"id":1,"v":1,"s":"a"}')
    assert row.v is True
    assert inspect(row).unloaded == {"s"}
