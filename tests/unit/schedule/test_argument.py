import pytest

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.arguments import parse_delay, parse_delays, parse_row_id, parse_row_ids


@pytest.mark.parametrize(("given", "row_id"), [("42", "42"), (42, "42"), (-1, "-1"), ("a b", "a b"), ("żółć", "żółć")])
def test_row_ids_are_texts_or_integers(given, row_id):
    assert parse_row_id(given) == row_id


@pytest.mark.parametrize("wrong", ["", None, 1.5, True, b"42", ["42"], "x" * 1025, "ż" * 600, "\ud800"])
def test_other_row_ids_are_refused(wrong):
    with pytest.raises(ArgumentError, match="row id is"):
        parse_row_id(wrong)


def test_a_single_row_id_stands_for_a_list_of_one():
    assert parse_row_ids("42") == ["42"]
    assert parse_row_ids(42) == ["42"]


def test_row_ids_are_made_different_in_order():
    assert parse_row_ids(["2", 1, "2", "1"]) == ["2", "1"]


@pytest.mark.parametrize("wrong", [None, 1.5, b"42", {"42": 1}, [""], [None]])
def test_other_lists_are_refused(wrong):
    with pytest.raises(ArgumentError):
        parse_row_ids(wrong)


@pytest.mark.parametrize("good", [0.05, 1, 86400, 2.5])
def test_delay_is_a_positive_number(good):
    assert parse_delay(good) == good


@pytest.mark.parametrize("wrong", [0, -1, 0.001, float("nan"), float("inf"), 1e12, "5", None, True])
def test_other_delays_are_refused(wrong):
    with pytest.raises(ArgumentError, match="delay is"):
        parse_delay(wrong)


def test_delay_of_zero_is_told_to_use_unschedule():
    with pytest.raises(ArgumentError, match="to stop caching a row, use unschedule_row"):
        parse_delay(0)


@pytest.mark.parametrize("wrong", [None, ["42"], {"": 5}, {"42": -5}])
def test_delays_are_a_dictionary(wrong):
    with pytest.raises(ArgumentError):
        parse_delays(wrong)
