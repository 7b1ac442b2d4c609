from rowcache_tasks.ops.snapshot import Snapshot, parse_count
from rowcache_tasks.schedule.row_state import parse_failure


def late_ms(before, after, share):
    then, now = (Snapshot("inv", 0, 0, None, lateness=counts) for counts in (before, after))
    return now.late_ms(then, share)


def test_percentile_is_the_bound_of_the_class_that_holds_the_row():
    assert late_ms({}, {0: 50, 4: 49, 40: 1}, 0.5) == 1
    assert late_ms({}, {0: 50, 4: 49, 40: 1}, 0.99) == 2
    assert late_ms({}, {0: 50, 4: 49, 40: 1}, 1) == 1024


def test_percentile_counts_only_what_came_between():
    assert late_ms({0: 1000}, {0: 1000, 8: 1}, 0.5) == 4


def test_percentile_of_nothing_is_none():
    assert late_ms({0: 5}, {0: 5}, 0.5) is None


def test_failure_written_by_another_client_is_shown_as_it_is():
    assert parse_failure("1", b"[]").error == "unreadable record: b'[]'"


def test_counter_written_by_another_client_is_a_number_of_64_bits_or_0():
    assert [parse_count(text) for text in (b"7", b"x", b"9" * 400, None)] == [7, 0, 0, 0]
