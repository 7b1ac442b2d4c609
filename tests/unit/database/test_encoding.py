import math
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.sql import quoted_name

from rowcache_tasks.database.encoding import RowEncoder, each, embedded, finite, plain
from rowcache_tasks.errors import EncodingError


def encode(*row, convert=None):
    return RowEncoder({f"c{i}": convert for i in range(len(row))}).encode(row)


def test_members_are_in_the_order_of_the_columns():
    assert RowEncoder({"b": None, "a": None}).encode((1, "x")) == b'{"b":1,"a":"x"}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (2**53 + 1, "9007199254740993"),
        (-(10**40), "-1" + "0" * 40),
        (0.1, "0.1"),
        ("", '""'),
        ('é "☃"\n\0', '"é \\"☃\\"\\n\\u0000"'),
        ("x" * 1_000_000, '"' + "x" * 1_000_000 + '"'),
        (b"\x00\xff", '"AP8="'),
        ([1, [None, "a"]], '[1,[null,"a"]]'),
        (msgspec.Raw(b'{"a": 1.00}'), '{"a": 1.00}'),
    ],
)
def test_value_without_a_converter_is_written_as_it_is(value, expected):
    assert encode(value).decode() == f'{{"c0":{expected}}}'


def test_null_reaches_no_converter():
    assert encode(None, None, convert=len) == b'{"c0":null,"c1":null}'
    encoder = RowEncoder({"a": lambda value: f"<{value}>"})
    assert encoder.encode_all({"1": [None], "2": ["x"]})[0] == {"1": b'{"a":null}', "2": b'{"a":"<x>"}'}


def test_the_row_given_stays_as_it_was():
    row = ["a", None]
    assert encode(*row, convert=str.upper) == b'{"c0":"A","c1":null}'
    assert row == ["a", None]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "naïve ☃", "", "select", "x" * 63, "__class__"])
def test_column_may_have_any_name(name):
    encoded = RowEncoder({name: None, "other": None}).encode((1, 2))
    assert msgspec.json.decode(encoded) == {name: 1, "other": 2}


def test_column_name_may_be_a_str_subclass():
    assert RowEncoder({quoted_name("Id", quote=True): None}).encode((1,)) == b'{"Id":1}'


def test_table_may_have_as_many_columns_as_postgresql_allows():
    assert len(msgspec.json.decode(encode(*range(1600)))) == 1600


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        ("lone \udc80 surrogate", "the text is not valid Unicode"),
    ],
)
def test_value_without_a_json_form_names_column_and_reason(value, reason):
    with pytest.raises(EncodingError, match=f"^column 'c1': {re.escape(reason)}$"):
        encode(1, value, None)


def test_failure_of_a_converter_names_column_and_reason():
    with pytest.raises(EncodingError, match=r"^column 'c1': inf has no JSON form: "):
        encode(1.0, math.inf, convert=finite)


def test_row_of_another_width_is_an_encoding_error():
    with pytest.raises(EncodingError, match="the row of 3 values does not fit 2 columns"):
        RowEncoder({"a": None, "b": None}).encode((1, 2, 3))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_float_that_is_no_number_is_refused_at_any_depth(value):
    for convert in (plain, each(finite)):
        for nested in (value, [value], [[1.0, None], [2.0, value]]):
            with pytest.raises(ValueError, match="has no JSON form"):
                convert(nested)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("12.30"), '"12.30"'),
        (Decimal("NaN"), '"NaN"'),
        (Decimal("1E+3"), '"1E+3"'),
        ("text", '"text"'),
        (quoted_name("text", quote=True), '"text"'),
        (b"\x00", '"AA=="'),
        (bytearray(b"\x00"), '"AA=="'),
        (memoryview(b"\x00"), '"AA=="'),
        (date(2026, 11, 22), '"2026-11-22"'),
        (time(19, 39, 19), '"19:39:19"'),
        (datetime(2026, 11, 22, 19, 39, 19, 123456), '"2026-11-22T19:39:19.123456"'),
        (datetime(2026, 11, 22, 19, 39, 19, tzinfo=UTC), '"2026-11-22T19:39:19Z"'),
        (datetime(2026, 11, 22, 21, 39, tzinfo=timezone(timedelta(hours=2))), '"2026-11-22T19:39:00Z"'),
        (timedelta(days=40, seconds=1), '"P40DT1S"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ((1, [None, Decimal("1.0")]), '[1,[null,"1.0"]]'),
        ({"a": Decimal("1.0"), "b": None}, '{"a":"1.0","b":null}'),
    ],
)
def test_unknown_database_is_encoded_by_python_type(value, expected):
    assert encode(value, convert=plain).decode() == f'{{"c0":{expected}}}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "1 2", '1, "b": 2', "NaN", "[Infinity]", r'"C:\dir"', '"\n"', "01", "+1", "1e999", "9" * 5000),
        *(r'"\ud800"', r'"\udc00\ud800"', '"lone \udc80"', "[" * 900 + "]" * 900),
    ],
)
def test_text_that_a_reader_cannot_decode_is_not_embedded(text):
    assert encode("kept", convert=lambda _: embedded('{"a": 1.10}')) == b'{"c0":{"a": 1.10}}'
    assert embedded("[" + r'["[\"["],' * 900 + "1]") is not None
    with pytest.raises(EncodingError, match=r"^column 'c0': the (text|value) "):
        encode(text, convert=embedded)


def test_unknown_python_type_names_column_and_type():
    with pytest.raises(EncodingError, match="column 'c0': Encoding objects of type complex is unsupported"):
        encode(1j, convert=plain)


VALUES = st.none() | st.integers() | st.floats() | st.text() | st.just("lone \udc80 surrogate") | st.just(object())


@given(st.lists(st.tuples(VALUES, VALUES) | st.tuples(VALUES), max_size=5))
def test_rows_are_encoded_together_as_each_by_itself(rows):
    encoder = RowEncoder({"a": plain, "b": None})
    values, errors = {}, {}
    for number, row in enumerate(rows):
        try:
            values[str(number)] = encoder.encode(row)
        except EncodingError as error:
            errors[str(number)] = str(error)
    assert encoder.encode_all({str(number): row for number, row in enumerate(rows)}) == (values, errors)
