"""What the benchmark of lateness takes for a refresh, when that was due, and what it says about all of them."""

import math
from collections import Counter

import pytest

from benchmarks.lateness import Lateness
from benchmarks.timetable import MIX, size, timetable
from benchmarks.watched import Refresh, Watched

LEASE_S = 30.0


def row(delay_s=10.0, due=100.0, refreshed=95.0):
    return Watched("7", delay_s, due, refreshed)


def test_refresh_is_late_from_the_due_time_that_was_known_before():
    watched = row()

    assert watched.note(score=110.002, refreshed=100.005, now=100.02, lease_s=LEASE_S) == Refresh(100.0, 100.005)
    assert watched.due == 110.002


def test_claim_is_no_refresh():
    watched = row()

    assert watched.note(score=130.002, refreshed=95.0, now=100.003, lease_s=LEASE_S) is None
    assert watched.note(score=110.002, refreshed=100.005, now=100.02, lease_s=LEASE_S) == Refresh(100.0, 100.005)


def test_row_that_was_refreshed_twice_between_two_looks_has_no_known_due_time():
    watched = row(delay_s=0.1)

    assert watched.note(score=100.31, refreshed=100.22, now=100.23, lease_s=LEASE_S) == Refresh(None, 100.22)
    assert watched.note(score=100.42, refreshed=100.33, now=100.35, lease_s=LEASE_S) == Refresh(100.31, 100.33)


def test_row_that_was_seen_waiting_was_refreshed_once_however_late():
    watched = row(delay_s=0.1)

    assert watched.note(score=100.0, refreshed=95.0, now=103.0, lease_s=None) is None
    assert watched.note(score=103.11, refreshed=103.02, now=103.05, lease_s=None) == Refresh(100.0, 103.02)


def test_lease_that_was_seen_tells_when_a_row_was_due_that_is_claimed_again():
    watched = row(delay_s=0.1)

    assert watched.note(score=100.05 + LEASE_S, refreshed=95.0, now=100.1, lease_s=LEASE_S) is None
    assert watched.note(100.19 + LEASE_S, 100.18, 100.21, LEASE_S) == Refresh(100.0, 100.18)
    found = watched.note(score=100.29, refreshed=100.25, now=100.26, lease_s=LEASE_S)

    assert found.due == pytest.approx(100.15)
    assert found.at == 100.25


def test_row_whose_next_claim_is_too_late_to_be_the_next_has_no_known_due_time():
    watched = row(delay_s=0.1)

    assert watched.note(score=100.05 + LEASE_S, refreshed=95.0, now=100.1, lease_s=LEASE_S) is None
    assert watched.note(100.35 + LEASE_S, 100.3, 100.36, LEASE_S) == Refresh(None, 100.3)


def test_row_claimed_again_and_again_unseen_has_no_known_due_time():
    watched = row(delay_s=0.1)

    assert watched.note(100.75 + LEASE_S, 100.74, 100.8, LEASE_S) == Refresh(None, 100.74)
    assert watched.due is None


def test_percentile_is_a_refresh_and_counts_those_that_are_waited_for():
    late = Lateness(asked=100, done=[(0.0, n / 100) for n in range(1, 91)], waiting=[0.5] * 9)

    assert late.percentile(0.4) == (0.4, False)
    assert late.percentile(0.98) == (0.89, True)
    assert late.percentile(1.0) == (0.9, True)
    assert late.share == 0.9
    assert late.most == 0.9
    assert math.isnan(Lateness(asked=1).percentile(0.5)[0])


def test_course_has_the_median_of_each_step_in_which_something_was_done():
    late = Lateness(asked=4, done=[(0.1, 0.003), (0.2, 0.001), (0.3, 0.002), (1.2, 0.5)])

    assert late.course(0.5) == ([0.5, 1.5], [0.002, 0.5])


@pytest.mark.parametrize("rate", [100, 1_000, 10_000])
def test_timetable_gives_as_many_refreshes_a_second_as_asked_for_spread_evenly(rate):
    rows = timetable(rate, 1_000.0, 100_000)

    assert len(rows) == size(rate) == len({row.row_id for row in rows})
    assert sum(1 / row.delay_s for row in rows) == pytest.approx(rate, rel=0.01)
    assert {row.delay_s for row in rows} == MIX.keys()
    assert all(1_000.0 <= row.due < 1_000.0 + row.delay_s for row in rows)
    assert len({round(row.due, 6) for row in rows}) > 0.95 * len(rows)
    per_s = Counter(int(row.due) for row in rows if row.delay_s == 10.0)
    assert max(per_s.values()) - min(per_s.values()) <= 1


def test_timetable_of_more_rows_than_there_are_is_refused():
    with pytest.raises(ValueError, match="take 9,330 rows: the table has 9,000"):
        timetable(1_000, 0.0, 9_000)
