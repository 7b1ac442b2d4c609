from contextlib import suppress
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcache_tasks.database.key_type import (
    DATE_KEY,
    DECIMAL_KEY,
    UUID_KEY,
    integer_key,
    text_key,
)
from rowcache_tasks.database.keys import RowKey

BIGINT = integer_key(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
SOME_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)


def round_trip(types, values):
    """Write driver values as a row id and read it back as a key; also read the key from a row."""
    key = RowKey(types)
    return key.parse(key.write(values)), key.getter(range(len(values)))(values)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_number_survives_the_round_trip(value):
    assert round_trip([BIGINT], [value]) == (value, value)


@given(SOME_TEXT)
def test_text_survives_the_round_trip(value):
    assert round_trip([text_key()], [value]) == (value, value)


@given(SOME_TEXT.filter(lambda value: value.rstrip(" ")))
def test_padded_text_survives_the_round_trip_without_its_padding(value):
    assert round_trip([text_key(padded=True)], [f"{value}   "]) == (value.rstrip(" "), value.rstrip(" "))


@given(st.uuids())
def test_uuid_survives_the_round_trip(value):
    assert round_trip([UUID_KEY], [str(value)]) == (str(value), str(value))


@given(st.dates())
def test_date_survives_the_round_trip(value):
    assert round_trip([DATE_KEY], [value.isoformat()]) == (value.isoformat(), value.isoformat())


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_decimal_survives_the_round_trip(value):
    assert round_trip([DECIMAL_KEY], [f"{value:f}"]) == (value, value)


@given(st.tuples(TEXTS, st.integers(-5, 5), TEXTS))
def test_several_parts_survive_the_round_trip(values):
    assert round_trip([text_key(), BIGINT, text_key()], values) == (values, values)


@given(st.text(), st.sampled_from([BIGINT, UUID_KEY, DATE_KEY, DECIMAL_KEY, text_key(), text_key(nul=False)]))
def test_any_text_is_a_key_or_an_error(row_id, key_type):
    for types, written in (([key_type], row_id), ([key_type, key_type], f"{row_id},{row_id}")):
        with suppress(ValueError):
            hash(RowKey(types).parse(written))


KEY_TYPES = [
    BIGINT,
    integer_key(0, 50),
    UUID_KEY,
    DATE_KEY,
    DECIMAL_KEY,
    text_key(),
    text_key(nul=False),
    text_key(padded=True),
]
ROW_IDS = (
    st.integers(-100, 100).map(str)
    | st.uuids().map(str)
    | st.sampled_from(
        ["042", "-0", "+1", " 1", "1_0", "\u0661", "9" * 19, "9" * 5000, "", "a ", "a", "\udc80", "\0", "%25"]
    )
    | st.uuids().map(lambda value: str(value).upper())
    | st.dates().map(str)
)


@given(st.sampled_from(KEY_TYPES), st.lists(ROW_IDS, max_size=4))
def test_texts_that_are_read_together_are_read_as_each_by_itself(key_type, row_ids):
    key = RowKey([key_type])
    keys, errors = key.parse_all(row_ids)
    assert_read_as_each(key, row_ids, keys, errors)
    if key.parse_canonical(row_ids) is not None and "" not in row_ids:
        assert [key.write([value]) for value in keys.values()] == list(dict.fromkeys(row_ids))


@given(st.sampled_from(KEY_TYPES), st.lists(st.lists(ROW_IDS, min_size=1, max_size=3).map(",".join), max_size=3))
def test_parts_that_are_read_together_are_read_as_each_by_itself(key_type, row_ids):
    key = RowKey([key_type, BIGINT])
    keys, errors = key.parse_all(row_ids)
    assert_read_as_each(key, row_ids, keys, errors)
    if key.parse_canonical(row_ids) is not None:
        assert [key.write(value) for value in keys.values()] == list(dict.fromkeys(row_ids))


def assert_read_as_each(key, row_ids, keys, errors):
    assert keys.keys() | errors.keys() == set(row_ids)
    for row_id, value in keys.items():
        assert value == key.parse(row_id)
    for row_id in errors:
        with pytest.raises(ValueError, match=r"it|has"):
            key.parse(row_id)


@pytest.mark.parametrize(
    ("types", "row_ids"),
    [
        ([BIGINT], ["42", "-7", "0"]),
        ([text_key()], ["naïve", "a,b%"]),
        ([text_key(), BIGINT], [",1", "a,1"]),
        ([UUID_KEY], [str(UUID(int=n)) for n in range(3)]),
        ([BIGINT, text_key()], ["1,a", "1,b"]),
        ([BIGINT], []),
    ],
)
def test_texts_as_a_scan_writes_them_are_read_together(types, row_ids):
    assert RowKey(types).parse_canonical(row_ids) == [RowKey(types).parse(row_id) for row_id in row_ids]


@pytest.mark.parametrize(
    ("types", "row_id"),
    [
        *(([BIGINT], row_id) for row_id in ("042", "x", "-0", "9" * 19, " 2", "2_0", "\u0661")),
        ([text_key()], "\udc80"),
        ([text_key(nul=False)], "a\0"),
        ([text_key(padded=True)], "a "),
        ([UUID_KEY], "6BA7B810-9dad-11d1-80b4-00c04fd430c8"),
        ([BIGINT, text_key()], "2,a%2Cb"),
        ([BIGINT, text_key()], "2"),
        ([BIGINT, text_key()], "02,a"),
    ],
)
def test_one_text_that_is_not_canonical_has_each_looked_at(types, row_id):
    assert RowKey(types).parse_canonical([row_id]) is None


def test_empty_row_id_has_no_key():
    for types in ([text_key()], [text_key(padded=True)], [BIGINT], [text_key(), text_key()]):
        keys, errors = RowKey(types).parse_all(["", "1", "1,1"])
        assert "" not in keys
        assert errors[""] == "row id '': it is empty"


@pytest.mark.parametrize("written", ["42", "042", "000042", "0" * 98 + "42"])
def test_leading_zeros_do_not_count(written):
    assert BIGINT.parse(written) == 42


@pytest.mark.parametrize("written", ["-0", "0", "-00"])
def test_zero_has_no_sign(written):
    assert BIGINT.parse(written) == 0


@pytest.mark.parametrize(
    "written",
    ["", "-", "+1", " 1", "1 ", "1\n", "1_0", "1.0", "1e3", "0x1", "\u0661", "\u00b2", "--1", "1-", "9" * 5000],
)
def test_other_than_plain_digits_is_no_whole_number(written):
    with pytest.raises(ValueError, match="not a whole number"):
        BIGINT.parse(written)


@pytest.mark.parametrize("written", ["32768", "-32769", "9" * 30])
def test_whole_number_out_of_range_names_the_range(written):
    with pytest.raises(ValueError, match=r"out of the column's range -32768 to 32767"):
        integer_key(-(2**15), 2**15 - 1).parse(written)


def test_equal_forms_are_one_key():
    assert DECIMAL_KEY.parse("1.5") == DECIMAL_KEY.parse("1.500") == Decimal("1.5")
    assert UUID_KEY.parse(str(UUID(int=10)).upper()) == str(UUID(int=10))


@pytest.mark.parametrize("written", ["nan", "Infinity", "1e5", "1.", ".5", "+1", "1,5", ""])
def test_other_than_plain_digits_is_no_decimal(written):
    with pytest.raises(ValueError, match="not a decimal number"):
        DECIMAL_KEY.parse(written)


@pytest.mark.parametrize(
    "written", ["{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "6ba7b8109dad11d180b400c04fd430c8", "", "x"]
)
def test_other_than_the_hyphenated_form_is_no_uuid(written):
    with pytest.raises(ValueError, match="not a hyphenated UUID"):
        UUID_KEY.parse(written)


@pytest.mark.parametrize(
    "written", ["20261122", "2026-11-22T00:00", "22.11.2026", "2026-W47-7", "2026-11-2", "infinity"]
)
def test_other_than_the_iso_form_is_no_date(written):
    with pytest.raises(ValueError, match="not a date written YYYY-MM-DD"):
        DATE_KEY.parse(written)


def test_date_must_be_a_day_of_the_calendar():
    with pytest.raises(ValueError, match="not a day of the calendar"):
        DATE_KEY.parse("2026-02-29")
    assert DATE_KEY.parse("2028-02-29") == date(2028, 2, 29).isoformat()


def test_text_that_the_database_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="not valid Unicode"):
        text_key().parse("\udc80")
    with pytest.raises(ValueError, match="NUL"):
        text_key(nul=False).parse("a\0")
    assert text_key().parse("a\0") == "a\0"


def test_part_that_is_wrong_is_numbered():
    with pytest.raises(ValueError, match=r"^part 2: it is not a whole number"):
        RowKey([text_key(), BIGINT]).parse("a,b")


def test_number_of_parts_must_fit():
    with pytest.raises(ValueError, match="has 3 part"):
        RowKey([text_key(), BIGINT]).parse("a,1,2")
