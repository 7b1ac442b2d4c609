import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import pytest

from rowcache_tasks import row_id
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.arguments import parse_delay, parse_delays, parse_row_id, parse_row_ids
from rowcache_tasks.schedule.row_id import texts_of


class Mood(StrEnum):
    GLAD = "so glad"


class Row(NamedTuple):
    n: int
    name: str


EAST = timezone(timedelta(hours=2))

KEYS = [
    ("42", "42"),
    ("żółć", "żółć"),
    (Mood.GLAD, "so glad"),
    (-1, "-1"),
    (True, "true"),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (date(2026, 1, 2), "2026-01-02"),
    (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (datetime(2026, 1, 2, 3, 4, 5, 500000, EAST), "2026-01-02T01:04:05.5Z"),
    (Decimal("1.50"), "1.50"),
    (Decimal("1E+3"), "1000"),
    (b"\x00\xff", "AP8="),
    ((7,), "7"),
    ((7, "a,b%", date(2026, 1, 2), False), "7,a%2Cb%25,2026-01-02,false"),
    (Row(7, "a"), "7,a"),
]


@pytest.mark.parametrize(("key", "text"), KEYS)
def test_key_of_each_type_has_one_text(key, text):
    assert parse_row_id(key) == row_id(key) == text
    assert parse_row_id(text) == text
    assert parse_row_ids(iter([key])) == [text]
    assert texts_of({key}) == ([key], [text])
    assert type(texts_of([key, key])[1][0]) is str


def test_columns_of_a_key_are_arguments_of_row_id():
    assert row_id(7, "x,y") == row_id((7, "x,y")) == "7,x%2Cy"


WRONG_KEYS = [
    "",
    (),
    ("",),
    None,
    1.5,
    ["42"],
    (1, None),
    (1, (2,)),
    {},
    Decimal("NaN"),
    "x" * 1025,
    "ż" * 600,
    "\ud800",
]


@pytest.mark.parametrize("wrong", [*WRONG_KEYS, Decimal("1E+9999"), datetime.max.replace(tzinfo=timezone.min)])
def test_other_row_ids_are_refused(wrong):
    with pytest.raises(ArgumentError, match="row id is"):
        parse_row_id(wrong)


@pytest.mark.parametrize(
    ("one", "remedy"),
    [
        ("42", "row_ids is '42': this str is one key: write ['42'] for this row"),
        (b"42", "this bytes is one key: write [b'42'] for this row"),
        (42, "this int is one key: write [42] for this row"),
        ((7, "a"), "this tuple is one key of 2 columns, and [7, 'a'] are 2 keys: write [(7, 'a')] for this row"),
        (date(2026, 1, 2), "this date is one key: write [datetime.date(2026, 1, 2)] for this row"),
    ],
)
@pytest.mark.parametrize("read", [parse_row_ids, texts_of])
def test_one_key_where_rows_are_asked_for_is_refused_with_the_remedy(read, one, remedy):
    with pytest.raises(ArgumentError, match=re.escape(remedy)):
        read(one)


def test_keys_that_are_equal_in_python_only_are_refused():
    assert texts_of([1, "1", 1]) == ([1, "1", 1], ["1", "1", "1"])
    with pytest.raises(ArgumentError, match="equal in Python"):
        texts_of([1, True])


def test_row_ids_are_made_different_in_order():
    assert parse_row_ids(["2", 1, "2", "1"]) == ["2", "1"]


@pytest.mark.parametrize("wrong", [None, 1.5, [""], [None]])
def test_other_lists_are_refused(wrong):
    with pytest.raises(ArgumentError):
        parse_row_ids(wrong)


@pytest.mark.parametrize("good", [0.05, 1, 86400, 2.5, timedelta(milliseconds=50), timedelta(days=1)])
def test_delay_is_a_positive_number_or_a_timedelta(good):
    assert parse_delay(good) == (good.total_seconds() if isinstance(good, timedelta) else good)


@pytest.mark.parametrize(
    "wrong", [0, -1, 0.001, float("nan"), float("inf"), 1e12, "5", None, True, timedelta(0), timedelta(-1)]
)
def test_other_delays_are_refused(wrong):
    with pytest.raises(ArgumentError, match="delay is"):
        parse_delay(wrong)


def test_delay_of_zero_is_told_to_use_unschedule():
    with pytest.raises(ArgumentError, match="to stop caching a row, unschedule it"):
        parse_delay(0)


@pytest.mark.parametrize("wrong", [None, ["42"], {"": 5}, {"42": -5}])
def test_delays_are_a_dictionary(wrong):
    with pytest.raises(ArgumentError):
        parse_delays(wrong)
