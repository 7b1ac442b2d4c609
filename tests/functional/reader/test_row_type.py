"""Rows of a real PostgreSQL, as workers cache them, read as each kind of type; docs/json.md has the annotations."""

from collections.abc import Sequence
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from rowcache_tasks.errors import RowTypeError
from rowcache_tasks.reader.types.decoder import RowDecoder

ID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
NOON = datetime(2026, 11, 22, 12, 0, 0, 123456)


class Mood(Enum):
    SO_SO = "so so"
    GLAD = "glad"


SET_UP = """
    CREATE EXTENSION IF NOT EXISTS citext;
    CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE TYPE mood AS ENUM ('so so', 'glad');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
"""

COLUMNS = [
    ("smallint", "-32768", int, -32768),
    ("bigint", "9223372036854775807", int, 2**63 - 1),
    ("oid", "4294967295", int, 4294967295),
    ("positive", "7", int, 7),
    ("boolean", "true", bool, True),
    ("numeric(8,2)", "12.30", Decimal, Decimal("12.30")),
    ("numeric", "'Infinity'", Decimal, Decimal("Infinity")),
    ("numeric(30,10)", "12345678901234567890.1234567890", Decimal, Decimal("12345678901234567890.1234567890")),
    ("real", "0.1", float, 0.1),
    ("double precision", "1", float, 1.0),
    ("text", "'naïve ☃'", str, "naïve ☃"),
    ("text", "NULL", str | None, None),
    ("varchar(9)", "'ab'", str, "ab"),
    ("char(4)", "'ab'", str, "ab  "),
    ("citext", "'Ab'", str, "Ab"),
    ("uuid", f"'{ID}'", UUID, ID),
    ("bytea", r"'\x00ff10'", bytes, b"\x00\xff\x10"),
    ("date", "'2026-11-22'", date, date(2026, 11, 22)),
    ("date", "'infinity'", str, "infinity"),
    ("timestamp", "'2026-11-22 12:00:00.123456'", datetime, NOON),
    ("timestamptz", "'2026-11-22 14:00:00.123456+02'", datetime, NOON.replace(tzinfo=UTC)),
    ("time", "'19:39:19.5'", time, time(19, 39, 19, 500000)),
    ("timetz", "'19:39:19-05:30'", time, time(19, 39, 19, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
    ("interval", "'3 days 04:05:06.7'", timedelta, timedelta(3, hours=4, minutes=5, seconds=6.7)),
    ("interval", "'0'", timedelta, timedelta()),
    ("interval", "'-1 month'", str, "P-1M"),
    ("jsonb", """'{"a": [1.5, null]}'""", Any, {"a": [1.5, None]}),
    ("jsonb", """'{"n": 12345678901234567890.10}'""", dict[str, Decimal], {"n": Decimal("12345678901234567890.10")}),
    ("integer[]", "'{1,NULL,3}'", list[int | None], [1, None, 3]),
    ("numeric(6,2)[]", "'{{1.50,NaN}}'", list[list[Decimal]], None),
    ("timestamptz[]", "'{2026-11-22 12:00:00.123456+00}'", list[datetime], [NOON.replace(tzinfo=UTC)]),
    ("mood", "'so so'", Mood, Mood.SO_SO),
    ("mood[]", "'{glad}'", list[Mood], [Mood.GLAD]),
    ("inet", "'10.0.0.1/8'", str, "10.0.0.1/8"),
    ("int4range", "'[1,3]'", str, "[1,4)"),
    ("hstore", "'a=>1'", str, '"a"=>"1"'),
    ("bit(3)", "B'101'", str, "101"),
    ("money", "12.5", str, "$12.50"),
]
"""SQL type, literal, annotation, value."""

NAMES = [f"c{i}_{sql_type.partition('(')[0].replace(' ', '_').strip('[]')}" for i, (sql_type, *_) in enumerate(COLUMNS)]

UNFIT = [
    ("numeric", "'NaN'", int, "Expected `int`, got `str`"),
    ("numeric", "1.5", float, "Expected `float`, got `str`"),
    ("date", "'infinity'", date, 'Invalid RFC3339 encoded date, found "infinity"'),
    ("timestamp", "'-infinity'", datetime, 'Invalid RFC3339 encoded datetime, found "-infinity"'),
    ("timestamptz", "'infinity'", datetime, 'Invalid RFC3339 encoded datetime, found "infinity"'),
    ("time", "'24:00'", time, "Invalid RFC3339 encoded time, found a string of 8 characters"),
    ("interval", "'1 month'", timedelta, "Only units 'D', 'H', 'M', and 'S' are supported"),
    ("interval", "'-04:05'", timedelta, "Invalid ISO8601 duration"),
    ("text", "NULL", str, "Expected `str`, got `null`"),
    ("text", "'secret'", bytes, "Invalid base64 encoded string, found a string of 6 characters"),
    ("mood", "'glad'", Enum("Other", {"SAD": "sad"}), "Invalid enum value, found a string of 4 characters"),
    ("integer[]", "'{{1,2}}'", list[int], "Expected `int`, got `array`"),
    ("integer[]", "'{1,NULL}'", list[int], "Expected `int`, got `null`"),
    ("int4range", "'[1,3]'", list[int], "Expected `array`, got `str`"),
]
"""SQL type, literal, annotation, what the error says."""


@pytest.fixture
def encoded(pg):
    """Return the function that stores literals in columns and returns what workers would cache of the row."""
    pg.run(SET_UP)

    def encode(columns: Sequence[tuple[str, str, str]]) -> bytes:
        pg.run(
            "DROP TABLE IF EXISTS typed",
            f"CREATE TABLE typed (id int PRIMARY KEY, {', '.join(f'{name} {kind}' for name, kind, _ in columns)})",
            f"INSERT INTO typed VALUES (1, {', '.join(literal for _, _, literal in columns)})",
        )
        source = pg.source("typed")
        fetched = source.fetch(["1"])
        assert fetched.errors == {}
        return fetched.encoder.encode(fetched.rows["1"])

    return encode


def test_columns_of_every_type_come_back_as_themselves(encoded):
    value = encoded([(name, kind, literal) for name, (kind, literal, *_) in zip(NAMES, COLUMNS, strict=True)])
    fields = {"id": int} | {name: annotation for name, (_, _, annotation, _) in zip(NAMES, COLUMNS, strict=True)}
    struct = RowDecoder("typed", msgspec.defstruct("Everything", list(fields.items()))).decode("1", value)
    data = RowDecoder("typed", make_dataclass("Everything", list(fields.items()))).decode("1", value)
    typed_dict = RowDecoder("typed", TypedDict("Everything", fields)).decode("1", value)
    plain = RowDecoder("typed").decode("1", value)
    for name, (sql_type, _, _, expected) in zip(NAMES, COLUMNS, strict=True):
        for row in (struct, data):
            check(sql_type, getattr(row, name), expected)
        check(sql_type, typed_dict[name], expected)
        if isinstance(expected, str):
            assert plain[name] == expected
    assert struct.id == data.id == typed_dict["id"] == plain["id"] == 1


def check(sql_type, found, expected):
    if expected is None and sql_type != "text":  # NaN is not equal to itself
        assert repr(found) == "[[Decimal('1.50'), Decimal('NaN')]]"
    else:
        assert (type(found), found, str(found)) == (type(expected), expected, str(expected))


def test_value_that_the_annotation_cannot_hold_is_a_row_type_error(encoded):
    value = encoded([(f"c{i}", sql_type, literal) for i, (sql_type, literal, *_) in enumerate(UNFIT)])
    for i, (_, _, annotation, expected) in enumerate(UNFIT):
        with pytest.raises(RowTypeError) as caught:
            RowDecoder("typed", msgspec.defstruct("Row", [(f"c{i}", annotation)])).decode("1", value)
        assert f"row '1' of typed does not fit Row: column 'c{i}': {expected}" in str(caught.value)
        assert "secret" not in str(caught.value)
