"""What the contenders of the refresh share, and those that need no packages of their own, on few rows."""

import pytest
import redis

from benchmarks import alternatives
from benchmarks.comparison import compare_values
from benchmarks.contender import Contender, run_round
from benchmarks.programs.feed import claim
from benchmarks.stage import Stage

ROWS = 400


@pytest.fixture(scope="module")
def stage():
    with Stage(ROWS) as stage:
        yield stage


@pytest.fixture
def client(stage):
    stage.clear()
    with redis.Redis.from_url(stage.valkey.url) as client:
        yield client


@pytest.mark.parametrize("make", [alternatives.book_daemon, alternatives.celery])
def test_alternative_caches_the_rows_of_the_database(stage, make):
    compared = []

    def check():
        compare_values(stage, make.__name__, ROWS)
        compared.append(stage.cached())

    found = run_round(stage, Contender(make.__name__, make(), ROWS), lead_s=5.0, check=check)

    assert compared == [ROWS]
    assert found.rate > 0
    assert sum(found.cost_us.values()) > 0


def test_value_that_differs_from_its_row_is_found(stage, client):
    stage.client.mset({f"inv:{n}": b'{"id":1}' for n in range(1, ROWS + 1)})

    with pytest.raises(AssertionError, match="somebody has cached row"):
        compare_values(stage, "somebody", ROWS)


def test_value_that_is_missing_is_found(stage, client):
    with pytest.raises(AssertionError, match="somebody has not cached row"):
        compare_values(stage, "somebody", ROWS)


def test_only_values_are_counted(stage, client):
    stage.schedule(1, 3, 60.0, stage.now())
    client.mset({"inv:1": b"{}", "inv:2": b"{}"})

    assert stage.cached() == 2


def test_due_rows_are_claimed_once_and_rows_without_delay_are_dropped(stage, client):
    now = stage.now()
    client.zadd("delay:", {"1": 60.0, "2": 0.0, "4": 60.0})
    client.zadd("schedule:", {"1": now - 1, "2": now - 1, "3": now - 1, "4": now + 60})
    client.set("inv:2", b"{}")

    assert claim(client) == ["1"]
    assert claim(client) == []
    assert {row_id: score > now + 50 for row_id, score in client.zrange("schedule:", 0, -1, withscores=True)} == {
        b"1": True,
        b"4": True,
    }
    assert client.get("inv:2") is None


def test_all_rows_become_due_at_one_moment(stage, client):
    stage.schedule(1, ROWS, 3600.0, stage.now() + 3600.0)
    due = stage.now()
    stage.reschedule(3600.0, due)

    scores = [score for _, score in client.zrange("schedule:", 0, -1, withscores=True)]
    assert scores == pytest.approx([due] * ROWS, rel=0, abs=1e-3)
