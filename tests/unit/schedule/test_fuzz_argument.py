"""Whatever a caller passes is accepted or refused with one line; nothing else is raised."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_values import any_json, any_object, assert_one_clear_line, numbers, reproducible, texts

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.arguments import (
    MAX_DELAY_S,
    MAX_ROW_ID_BYTES,
    MIN_DELAY_S,
    parse_delay,
    parse_delays,
    parse_row_id,
    parse_row_ids,
    parse_stamp,
)
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.row_id import encode_row_id

CLAIM = {
    "claimed_at": "1763837614.123456",
    "lease_until": "1763837644.123456",
    "epoch": "7",
    "late_ms": 1,
    "namespace": "users",
}


def accepted(parse, *values):
    """What parse makes of the values; None when it refuses them as it should."""
    try:
        return parse(*values)
    except ArgumentError as error:
        assert_one_clear_line(error)
        return None


@reproducible
@given(any_object)
def test_row_id_is_a_text_that_redis_can_hold_or_an_error(value):
    row_id = accepted(parse_row_id, value)
    assert row_id is None or 0 < len(encode_row_id(row_id)) <= MAX_ROW_ID_BYTES


@reproducible
@given(any_object | st.lists(any_object, max_size=3))
def test_row_ids_are_texts_or_an_error(value):
    row_ids = accepted(parse_row_ids, value)
    assert row_ids is None or all(parse_row_id(row_id) == row_id for row_id in row_ids)


@reproducible
@given(any_object | numbers)
def test_delay_is_a_finite_number_within_bounds_or_an_error(value):
    delay = accepted(parse_delay, value)
    assert delay is None or (math.isfinite(delay) and MIN_DELAY_S <= delay <= MAX_DELAY_S)


@reproducible
@given(any_object | st.dictionaries(texts | st.integers(), any_object, max_size=3))
def test_delays_are_row_ids_with_delays_or_an_error(value):
    delays = accepted(parse_delays, value)
    assert delays is None or all(parse_delay(delay) == delay for delay in delays.values())


@reproducible
@given(any_object | st.floats(0, 2e9).map(str))
def test_stamp_is_a_time_or_an_error(value):
    stamp = accepted(parse_stamp, value)
    assert not stamp or 0 <= float(stamp) < 1e12


@reproducible
@given(st.lists(any_object, max_size=2) | any_object, any_object, st.sampled_from([*CLAIM, "extra", None]), any_json)
def test_claim_of_a_message_is_complete_or_an_error(row_ids, given, name, value):
    for one in (given, CLAIM | {name: value}, {key: CLAIM[key] for key in CLAIM if key != name}):
        claim = accepted(Claim.from_message, row_ids, one)
        if claim is not None:
            assert math.isfinite(float(claim.claimed_at) + float(claim.lease_until) + claim.late_ms)
            assert Claim.from_message(claim.row_ids, claim.to_message()) == claim


@pytest.mark.parametrize(
    "change",
    [
        {"claimed_at": float("nan")},
        {"claimed_at": "nan"},
        {"claimed_at": "inf"},
        {"claimed_at": "0x10"},
        {"claimed_at": ["1"]},
        {"lease_until": "-5"},
        {"lease_until": 1763837644.1},
        {"epoch": 7},
        {"epoch": "-1"},
        {"epoch": ""},
        {"epoch": "1" * 16},
        {"late_ms": [0, 1]},
        {"late_ms": -1},
        {"late_ms": "0"},
        {"late_ms": 0.5},
        {"late_ms": True},
        {"late_ms": 10**16},
        {"namespace": "a:b"},
        {"namespace": "fill"},
        {"namespace": 5},
        {"late": [0, 1]},
        {"until": 1},
    ],
)
def test_claim_that_no_dispatcher_sends_is_refused(change):
    assert Claim.from_message(["1"], CLAIM).row_ids == ["1"]
    with pytest.raises(ArgumentError, match="claim"):
        Claim.from_message(["1"], CLAIM | change)


@reproducible
@given(any_object)
def test_any_value_is_quoted_within_one_line(value):
    assert shorten(value).isprintable()
    assert len(shorten(value)) <= 80


@reproducible
@given(texts, texts)
def test_no_login_of_a_url_is_quoted(user, tail):
    for value in (f"redis://{user}:s3cret@{tail}", [f"redis://{user}:s3cret@h"], f"unix:///s?password=s3cret{tail}"):
        assert "s3cret" not in shorten(value)
