"""The check at the end of the demo finds what is wrong, and waits for what may be old."""

import json

import psycopg
import pytest
from rich.console import Console

from demo.__main__ import report
from demo.accounts import COUNT, TABLE
from demo.comparison import Comparison, StaleRows, compare_rows
from rowcache_tasks.schedule.rows import Schedule

LEASE_S = 30


@pytest.fixture
def schedule(client):
    return Schedule(client, TABLE)


@pytest.fixture(scope="module")
def connection(postgres_url):
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))"
        )
        connection.execute(
            "INSERT INTO pgbench_accounts VALUES (1, 1, 0, ''), (2, 1, -70, 'naïve'), (3, 1, NULL, NULL)"
        )
        yield connection


@pytest.fixture
def cached(client):
    """Cache the three rows as they are; gives the client."""
    fillers = {1: " " * 84, 2: "naïve".ljust(84), 3: None}
    for aid, abalance in ((1, 0), (2, -70), (3, None)):
        row = {"aid": aid, "bid": 1, "abalance": abalance, "filler": fillers[aid]}
        client.set(f"accounts:{aid}", json.dumps(row, ensure_ascii=False))
    return client


def changed(client, **columns):
    row = json.loads(client.get("accounts:2"))
    client.set("accounts:2", json.dumps({name: value for name, value in (row | columns).items() if value != "remove"}))


def test_same_rows_do_not_differ(cached, connection):
    found = compare_rows(cached, connection)
    assert (found.compared, found.differing) == (3, {})


@pytest.mark.parametrize(
    "columns",
    [
        {"abalance": -71},
        {"abalance": -70.0},
        {"abalance": "-70"},
        {"abalance": None},
        {"bid": True},
        {"filler": "naïve"},
        {"filler": "remove"},
        {"more": 1},
    ],
    ids=repr,
)
def test_every_difference_of_a_value_is_found(cached, connection, columns):
    changed(cached, **columns)
    found = compare_rows(cached, connection)
    assert (found.compared, list(found.differing)) == (3, ["2"])
    assert "-70" in found.differing["2"]


@pytest.mark.parametrize("value", [b"", b"{", b"null", b"[]", b"\xff"])
def test_value_that_is_no_row_is_found(cached, connection, value):
    cached.set("accounts:2", value)
    assert list(compare_rows(cached, connection).differing) == ["2"]


def test_row_that_is_not_cached_is_found(cached, connection):
    cached.delete("accounts:2")
    found = compare_rows(cached, connection)
    assert (found.compared, list(found.differing)) == (3, ["2"])
    assert "cache nothing" in found.differing["2"]


def test_cached_row_that_the_database_has_not_is_found(cached, connection):
    cached.set("accounts:4", cached.get("accounts:1"))
    found = compare_rows(cached, connection)
    assert (found.compared, list(found.differing)) == (4, ["4"])


@pytest.mark.parametrize(
    ("comparison", "status", "verdict"),
    [
        (Comparison(COUNT, {}), 0, "100,000 rows compared, 0 differ"),
        (Comparison(COUNT, {"2": "database {}, cache nothing"}), 1, "100,000 rows compared, 1 differ"),
        (Comparison(COUNT - 1, {}), 1, "99,999 rows compared, 0 differ"),
    ],
)
def test_verdict_is_good_only_when_every_row_is_there_and_none_differs(capsys, comparison, status, verdict):
    assert report(Console(), comparison) == status
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def now(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def claim_now(schedule):
    schedule.touch_rows(["1"])
    claim, _ = schedule.claim_rows(1, LEASE_S)
    assert claim.row_ids == ["1"]
    return claim


def test_row_is_refreshed_by_a_refresh_that_was_claimed_later(client, schedule):
    schedule.put_rows({"1": (20, 0)})
    schedule.commit_rows(claim_now(schedule), {"1": b"{}"})
    stale = StaleRows(client, ["1"], now(client))
    assert stale.count() == 1
    claim = claim_now(schedule)
    assert stale.count() == 1
    schedule.commit_rows(claim, {"1": b"{}"})
    assert stale.count() == 0


def test_row_is_not_refreshed_by_a_refresh_that_was_claimed_earlier_and_committed_later(client, schedule):
    schedule.put_rows({"1": (20, 0)})
    early = claim_now(schedule)
    stale = StaleRows(client, ["1"], now(client))
    schedule.commit_rows(early, {"1": b"{}"})
    assert stale.count() == 1
    claim = claim_now(schedule)
    assert stale.count() == 1, "while the next claim is out, the value is still the old one"
    schedule.commit_rows(claim, {"1": b"{}"})
    assert stale.count() == 0
