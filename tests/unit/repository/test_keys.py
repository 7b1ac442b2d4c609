import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id, join_row_id, split_row_id


def test_empty_namespace_gives_the_keys_of_the_book():
    keys = Keys.of("")
    assert (keys.schedule, keys.delay, keys.value("42")) == ("schedule:", "delay:", b"inv:42")


def test_namespace_is_in_every_key():
    keys = Keys.of("users")
    assert keys.schedule == "schedule:users"
    assert keys.value("42") == b"users:42"
    assert keys.wake == "wake:users"


@given(st.binary())
def test_any_bytes_survive_as_row_id(member):
    assert encode_row_id(decode_row_id(member)) == member


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_composite_row_id_is_reversible(parts):
    assert split_row_id(join_row_id(parts), len(parts)) == tuple(parts)


def test_single_key_is_written_as_it_is():
    assert join_row_id(["50%,x"]) == "50%,x"


def test_composite_row_id_reads_well():
    assert join_row_id(["7", "a,b%"]) == "7,a%2Cb%25"


def test_wrong_number_of_parts_is_an_error():
    with pytest.raises(ArgumentError, match=r"'1,2,3' has 3 part\(s\), the key has 2 columns"):
        split_row_id("1,2,3", 2)
