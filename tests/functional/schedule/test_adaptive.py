"""Adaptive intervals: the delay of a row follows how often its value changes."""

from itertools import pairwise

import pytest
from proof.interleaving.mutant import Mutant

from rowcache_tasks.config.settings import Table
from rowcache_tasks.config.table import Adaptive
from rowcache_tasks.schedule.rows import Schedule

TABLE = Table("inv", "inventory", adaptive=Adaptive(2, 40))


@pytest.fixture
def refresh(client):
    """Function that refreshes row 1 so many seconds after its last refresh; returns its delay."""

    def run(value, after_s=0.0, schedule=None):
        schedule = schedule or Schedule(client, TABLE)
        if after_s:
            seconds, microseconds = client.time()
            client.zadd("refreshed:", {"1": seconds + microseconds / 1e6 - after_s})
        schedule.touch_rows(["1"])
        claim, _ = schedule.claim_rows(10, 30)
        schedule.commit_rows(claim, {"1": value})
        delay = client.zscore("delay:", "1")
        assert client.zscore("schedule:", "1") == pytest.approx(float(claim.claimed_at) + delay, abs=1e-5)
        return delay

    Schedule(client, TABLE).put_rows({"1": (20, 0)})
    return run


@pytest.mark.parametrize("mark", ["", "first-is-a-change"])
def test_changed_row_has_a_quarter_of_its_delay_and_an_unchanged_one_a_tenth_more(refresh, client, mark):
    schedule = Mutant("commit_rows", mark).schedule(client, TABLE) if mark else Schedule(client, TABLE)
    schedule.put_rows({"1": (20, 0)})
    assert (refresh(b"1", schedule=schedule) == 20) == (not mark), "the first value is no change"
    if not mark:
        assert [refresh(b"%d" % n) for n in (2, 3)] == [5, pytest.approx(2, abs=1e-4)], "never below min"
        client.zadd("delay:", {"1": 2})
        delays = [2.0, *(refresh(b"3", after_s=100) for _ in range(60))]
        grown = [after / before for before, after in pairwise(delays) if after < 40]
        assert all(1.04 < factor <= 1.15 for factor in grown)
        assert len(set(grown)) > 10, "by chance, so that rows that are due together do not stay together"
        assert delays[-1] == 40, "never above max"
        assert refresh(b"5") == 10


@pytest.mark.parametrize("mark", ["", "never-stay", "always-stay"])
def test_row_that_changes_at_the_shortest_delay_stays_there_until_thirty_refreshes_find_no_change(
    refresh, client, mark
):
    schedule = Mutant("commit_rows", mark).schedule(client, TABLE) if mark else Schedule(client, TABLE)
    schedule.put_rows({"1": (2, 0)})
    for value in (b"1", b"2"):
        refresh(value, schedule=schedule)
    delays = [refresh(b"2", after_s=100, schedule=schedule) for _ in range(31)]
    stays = [round(delay, 3) == 2 for delay in delays]
    assert (stays == [True] * 30 + [False]) == (not mark)
    client.zadd("delay:", {"1": 2})
    for n in range(3, 10):
        refresh(b"%d" % n, schedule=schedule)
    assert (client.zscore("delay:", "1") == pytest.approx(2 + 100e-6, abs=1e-9)) == (mark != "never-stay")


@pytest.mark.parametrize("mark", ["", "early-says-all"])
def test_refresh_that_was_asked_for_early_does_not_lengthen_the_delay(refresh, client, mark):
    schedule = Mutant("commit_rows", mark).schedule(client, TABLE) if mark else Schedule(client, TABLE)
    schedule.put_rows({"1": (20, 0)})
    refresh(b"1")
    assert (refresh(b"1", after_s=5, schedule=schedule) == 20) == (not mark)
    assert refresh(b"1", after_s=15) > 20


def test_delays_of_the_user_and_of_foreign_clients_are_brought_within_the_bounds(refresh, client):
    schedule = Schedule(client, TABLE)
    schedule.put_rows({"1": (0.5, 0.25), "2": (500, 250), "3": (10, 5)})
    assert client.zmscore("delay:", ["1", "2", "3"]) == [2, 40, 10]
    now = client.time()[0]
    starts = [score - now for score in client.zmscore("schedule:", ["1", "2", "3"])]
    assert starts == [pytest.approx(at, abs=1.5) for at in (1, 20, 5)], "spread like the delays"
    client.zadd("delay:", {"1": 500})
    assert refresh(b"1") == 40


def test_value_that_was_evicted_or_confirmed_by_its_version_is_no_change(refresh, client):
    refresh(b'{"at":1,"name":"x"}')
    client.delete("inv:1")
    assert refresh(b'{"at":1,"name":"x"}') == 20
    assert refresh(b'{"at":1,', after_s=20) > 20


def test_refreshes_that_the_shortest_delay_would_have_made_are_counted_as_saved(refresh, client):
    refresh(b"1")
    refresh(b"1", after_s=20)
    assert 8 <= int(client.hget("stats:", "saved")) <= 10, "one in 20 s in place of ten"
    refresh(b"2", after_s=3600)
    assert int(client.hget("stats:", "saved")) <= 24, "the time of a pause is not saved"


def test_row_with_a_promise_is_due_within_it_and_its_delay_still_grows(client):
    schedule = Schedule(client, Table("inv", "inventory", adaptive=Adaptive(2, 40), max_staleness_s=40, target=0.9))
    schedule.put_rows({"1": (20, 0)})
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": b"1"})
    client.zadd("refreshed:", {"1": client.time()[0] - 15})  # by the largest margin, a quarter
    schedule.touch_rows(["1"])
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": b"1"})
    assert 21 < client.zscore("delay:", "1") < 27
