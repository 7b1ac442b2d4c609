import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import msgspec
import pydantic.dataclasses
import pytest
from pydantic import BaseModel, Field, field_validator

from rowcache_tasks.errors import ArgumentError, RowTypeError
from rowcache_tasks.reader.types.decoder import RowDecoder

VALUE = b'{"id":42,"name":"ball","price":"12.30","due":"2026-11-22","tags":["a"],"size":3}'


class Mood(Enum):
    GLAD = "glad"


class Struct(msgspec.Struct):
    id: int
    name: str
    price: Decimal
    due: date
    tags: list[str]


@dataclass
class Dataclass:
    id: int
    name: str
    price: Decimal
    due: date
    tags: list[str] = field(default_factory=list)


class Dict(TypedDict):
    id: int
    name: str
    price: Decimal
    due: date
    tags: NotRequired[list[str]]


def complaint(wanted, value, row_id="42"):
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("inv", wanted).decode(row_id, value)
    return str(caught.value).removesuffix("; docs/json.md says which annotation fits which column")


def test_without_a_type_rows_are_dictionaries():
    expected = {"id": 42, "name": "ball", "price": "12.30", "due": "2026-11-22", "tags": ["a"], "size": 3}
    for decoder in (RowDecoder("inv"), RowDecoder("inv", dict), RowDecoder("inv", dict[str, Any])):
        assert decoder.decode("42", VALUE) == expected
        assert decoder.decode("42", VALUE.decode()) == expected


class Model(BaseModel):
    id: int
    name: str = Field(alias="name")
    price: Decimal
    due: date
    tags: list[str]


@pydantic.dataclasses.dataclass
class Checked:
    id: int
    name: str
    price: Decimal
    due: date
    tags: list[str]


@pytest.mark.parametrize("wanted", [Struct, Dataclass, Model, Checked])
def test_row_is_of_the_type_asked_for_and_other_columns_are_ignored(wanted):
    expected = wanted(id=42, name="ball", price=Decimal("12.30"), due=date(2026, 11, 22), tags=["a"])
    assert RowDecoder("inv", wanted).decode("42", VALUE) == expected


def test_typed_dictionary_holds_typed_values():
    expected = {"id": 42, "name": "ball", "price": Decimal("12.30"), "due": date(2026, 11, 22), "tags": ["a"]}
    assert RowDecoder("inv", Dict).decode("42", VALUE) == expected
    assert RowDecoder("inv", dict[str, Decimal]).decode("42", b'{"a":"1.0"}') == {"a": Decimal("1.0")}


def test_field_with_a_default_may_be_missing():
    assert RowDecoder("inv", Dataclass).decode("1", b'{"id":1,"name":"x","price":"1","due":"2026-11-22"}').tags == []


def test_error_names_table_row_column_and_what_was_found_and_expected():
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("inv", Struct).decode(42, b'{"id":"forty-two","name":"x","price":"1","due":"2026-11-22","tags":[]}')
    assert str(caught.value) == (
        "row 42 of inv does not fit Struct: column 'id': Expected `int`, got `str`; "
        "docs/json.md says which annotation fits which column"
    )
    assert (caught.value.table, caught.value.row_id) == ("inv", 42)


class Odd(msgspec.Struct, rename={"inner": "a.b", "outer": "a"}):
    outer: dict[str, int]
    inner: int
    mood: Mood = Mood.GLAD
    at: datetime | None = None
    small: Annotated[int, msgspec.Meta(le=3)] = 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: int

    def __post_init__(self):
        if self.id < 0:
            raise ValueError("id must not\nbe negative")


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (Odd, '{"a":{}}', "column 'a.b': found none, and the field has no default"),
        (Odd, '{"a":{},"a.b":"x"}', "column 'a.b': Expected `int`, got `str`"),
        (Odd, '{"a":{"b":"x"},"a.b":1}', "column 'a': Expected `int`, got `str`"),
        (Odd, '{"a":{},"a.b":null}', "column 'a.b': Expected `int`, got `null`"),
        (Odd, '{"a":{},"a.b":1,"mood":"secret"}', "column 'mood': Invalid enum value, found a string of 6 characters"),
        (
            Odd,
            '{"a":{},"a.b":1,"at":"infinity"}',
            "column 'at': Invalid RFC3339 encoded datetime, found \"infinity\"",
        ),
        (Odd, '{"a":{},"a.b":1,"small":7}', "column 'small': Expected `int` <= 3, found an integer"),
        (Odd, '{"a":{},"a.b":1e400}', "column 'a.b': Number out of range, found a number"),
        (Strict, '{"id":1,"name":"x"}', "column 'name': found one, and the type has no such field"),
        (Strict, '{"id":-1}', "id must not be negative"),
        (dict[str, int], '{"a":1,"b":"x"}', "column 'b': Expected `int`, got `str`"),
        (dict[str, date], '{"a":"2026-11-22","b":"x"}', "column 'b': Invalid RFC3339 encoded date"),
    ],
)
def test_error_names_the_column(wanted, value, expected):
    found = complaint(wanted, value)
    assert f": {expected}" in found
    assert "\n" not in found
    assert "secret" not in found


def test_error_stays_on_one_bounded_line_whatever_the_row_is():
    found = complaint(dict[str, int], json.dumps({"x" * 5000 + "\n": "secret\n" * 1000}), row_id="4\n2" * 1000)
    assert "\n" not in found
    assert "secret" not in found
    assert len(found) < 500


def test_error_survives_pickling():
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("inv", Strict).decode("42", b"{}")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.table, copy.row_id) == (str(caught.value), "inv", "42")


@pytest.mark.parametrize("value", [b"[1]", b'"x"', b"null", b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 100_000])
@pytest.mark.parametrize("wanted", [None, Struct, Dict])
def test_value_that_is_no_json_object_is_logged_and_counts_as_not_cached(wanted, value, caplog):
    assert RowDecoder("inv", wanted).decode("42", value) is None
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("row '42' of inv counts as not cached: ")


def test_json_column_with_half_a_surrogate_pair_is_read():
    value = rb'{"id":1,"doc":{"a":"\ud800"}}'
    assert RowDecoder("inv").decode("1", value) == {"id": 1, "doc": {"a": "\ud800"}}
    assert "column 'doc': " in complaint(Wide, value)


class Wide(msgspec.Struct):
    id: int
    doc: Any


class Listed(msgspec.Struct, array_like=True):
    id: int


class Tuple(NamedTuple):
    id: int


class Plain:
    id: int


class HoldsPlain(msgspec.Struct):
    id: int
    address: list[IPv4Address | None]


class Forward(msgspec.Struct):
    id: "NoSuchName"  # noqa: F821


class Ambiguous(msgspec.Struct):
    id: str | date


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (int, "type is int, which is no type of a row: allowed are dict, a TypedDict"),
        (list[Struct], "type is list"),
        (Struct | None, "which is no type of a row"),
        (dict[int, str], "which is no type of a row"),
        (Any, "type is Any"),
        (Listed, "type is Listed"),
        (Tuple, "type is Tuple"),
        (Plain, "type is Plain"),
        (Plain(), "cannot be read from JSON"),
        ("Struct", "type 'Struct' cannot be read from JSON"),
        (HoldsPlain, "type HoldsPlain: address is a IPv4Address, which cannot be read from JSON"),
        (Forward, "type Forward cannot be read from JSON: name 'NoSuchName' is not defined"),
        (Ambiguous, "type Ambiguous cannot be read from JSON: Type unions may not contain more than one str-like"),
    ],
)
def test_type_that_no_row_can_have_is_refused_at_once(wanted, expected):
    with pytest.raises(ArgumentError) as caught:
        RowDecoder("inv", wanted)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mapping_is_a_dictionary():
    assert RowDecoder("inv", Mapping[str, int]).decode("1", b'{"a":1}') == {"a": 1}


def test_typed_rows_need_no_sqlalchemy():
    code = (
        "import sys, msgspec; from rowcache_tasks.reader.types.decoder import RowDecoder\n"
        "class Row(msgspec.Struct): id: int\n"
        "assert RowDecoder('inv', Row).decode('1', b'{\"id\":1}').id == 1\n"
        "print([m for m in ('sqlalchemy', 'celery', 'kombu') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


class Positive(BaseModel):
    id: int = Field(gt=0)
    tags: list[str] = []
    size: int = Field(default=1, alias="size in cm")

    @field_validator("size")
    @classmethod
    def check(cls, size):
        if size > 100:
            raise ValueError("too large")
        return size


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "column 'id': found none, and the field has no default"),
        (
            {"id": "s3cret"},
            "column 'id': Input should be a valid integer, unable to parse string as an integer, found a",
        ),
        ({"id": 0}, "column 'id': Input should be greater than 0, found an integer"),
        ({"id": 1, "tags": ["a", 5]}, "column 'tags': Input should be a valid string, found an array"),
        ({"id": 1, "size in cm": 101}, "column 'size in cm': Value error, too large, found an integer"),
    ],
)
def test_row_that_does_not_fit_a_pydantic_model_is_one_line_without_its_values(value, reason):
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("inv", Positive).decode("1", json.dumps(value).encode())
    assert f"does not fit Positive: {reason}" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_pydantic_model_that_is_not_complete_is_refused_and_what_is_no_object_is_not_cached():
    class Half(BaseModel):
        other: "Nowhere"  # noqa: F821

    with pytest.raises(ArgumentError, match="type Half cannot be read from JSON: `Half` is not fully defined"):
        RowDecoder("inv", Half)
    assert RowDecoder("inv", Positive).decode("1", b"[1]") is None
