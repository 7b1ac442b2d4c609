"""What check_clock notes of a promise: for how long it was kept, in each hour."""

from dataclasses import replace

import pytest
from proof.interleaving.mutant import Mutant

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.rows import Schedule

TABLE = Table("inv", "inventory", max_staleness_s=400, target=0.9)


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def checker(client, mark=""):
    """Return a check of the clock, by the script or a mutant, which returns the seconds of all hours and those beyond.

    A mutant empties the database first.
    """
    schedule = Mutant("check_clock", mark).schedule(client, TABLE) if mark else Schedule(client, TABLE)

    def check(ago):
        client.hset("state:", "judged_at", server_time(client) - ago)
        schedule.check_clock()
        sums = [client.hget("state:", f"hour:{hour}") for hour in range(24)]
        numbers = [[float(number) for number in text.split()[1:]] for text in sums if text]
        return sum(seconds for seconds, _ in numbers), sum(beyond for _, beyond in numbers)

    return check


def refresh(client, ages):
    now = server_time(client)
    client.zadd("refreshed:", {str(n): now - age for n, age in enumerate(ages)})
    client.zadd("schedule:", dict.fromkeys(map(str, range(len(ages))), now + 60))
    client.zadd("delay:", dict.fromkeys(map(str, range(len(ages))), 60))
    return now


def test_seconds_beyond_the_promise_are_those_of_a_mean_row(client):
    check = checker(client)
    refresh(client, [5, 5, 5, 500])
    seconds, beyond = check(2)
    assert 2 <= seconds < 60
    assert beyond == pytest.approx(seconds / 4, abs=1e-5)
    assert client.hexists("state:", "missed_at"), "three of four rows are not 90 %"
    client.delete("delay:")
    assert check(2)[0] == seconds, "nothing is promised of no row"


@pytest.mark.parametrize("mark", ["", "ignore-filled"])
def test_rows_that_readers_fill_do_not_stand_for_others(client, mark):
    check = checker(client, mark)
    now = refresh(client, [5, 5, 5, 500])
    client.zadd("refreshed:", dict.fromkeys(["a", "b"], now))
    client.zadd("schedule:", dict.fromkeys(["a", "b"], now + 60))
    assert (check(2)[1] > 0) == (not mark)


@pytest.mark.parametrize("mark", ["", "ignore-step"])
def test_ages_are_not_trusted_after_a_step_back_of_the_clock(client, mark):
    check = checker(client, mark)
    now = refresh(client, [5])
    client.hset("state:", "clock", now + 398)
    assert (check(2)[1] > 0) == (not mark)
    step = client.hget("state:", "step")
    assert [float(number) for number in step.split()] == pytest.approx([now, 398], abs=1)
    client.hset("state:", "step", f"{now - 900:.6f} 398.000000")
    client.hdel("state:", *[f"hour:{hour}" for hour in range(24)])
    assert check(2)[1] == 0, "all rows were refreshed since"


def test_age_counts_from_the_read_which_commits_have_measured(client):
    schedule, check = Schedule(client, TABLE), checker(client)
    schedule.put_rows({"1": (1000, 0)})
    schedule.commit_rows(replace(schedule.claim_rows(10, 30)[0], read_ms=90_000), {"1": b"{}"})
    client.zadd("refreshed:", {"1": server_time(client) - 320})
    seconds, beyond = check(2)
    assert beyond == seconds, "it was read 410 s ago"
    schedule.touch_rows(["1"])
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": b"{}"})
    client.zadd("refreshed:", {"1": server_time(client) - 320})
    assert check(2)[1] == beyond, "the last read took no time"


@pytest.mark.parametrize("mark", ["", "ignore-gap"])
def test_nothing_was_kept_while_no_dispatcher_looked(client, mark):
    check = checker(client, mark)
    refresh(client, [5])
    seconds, beyond = check(9000)
    assert seconds == pytest.approx(9000, abs=5)
    assert beyond == (0 if mark else seconds)
    assert sum(client.hexists("state:", f"hour:{hour}") for hour in range(24)) >= 3
