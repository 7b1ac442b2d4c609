"""RowCache and AsyncRowCache with a near cache: the same tests for both."""

import sqlite3
import subprocess
import sys

import pytest
from support.reader_kind import READER_KINDS
from support.waiting import wait_until

from rowcache_tasks import ArgumentError, ReadThrough
from rowcache_tasks.reader.fill import loader
from rowcache_tasks.reader.near.session import PUSHED, TrackingSession

ENDING = """
from rowcache_tasks import RowCache

class Late:
    def __init__(self):
        self.reader = RowCache("inv", url="{url}", namespace="", near=10, timeout=20)

    def __del__(self):
        print(self.reader.get(1))

warm = Late()
del warm  # imports are not possible later
late = Late()
"""


@pytest.fixture(params=READER_KINDS)
def inv(request, valkey, client, tmp_path):
    """Reader with a near cache, which fills rows 1 to 3 from SQLite."""
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE inv (id INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO inv VALUES (?)", [(1,), (2,), (3,)])
    database.close()
    read_through = ReadThrough(database_url=f"sqlite:///{tmp_path}/shop.db", timeout=20)
    cache = READER_KINDS[request.param]("inv", url=valkey.url_for(9), near=100, read_through=read_through)
    yield cache
    cache.end()
    loader.close()


@pytest.fixture
def unheard(monkeypatch):
    """Let no invalidation arrive: it is on its way."""
    monkeypatch.setattr(TrackingSession, "invalidate", lambda *_: PUSHED)


def keep(cache, row_id, row):
    """Read a row until it comes out of this process."""

    def is_kept():
        hits = cache.near_statistics().hits
        return cache.get(row_id) == row and cache.near_statistics().hits > hits

    wait_until(is_kept, f"row {row_id} is kept")


def test_row_is_read_once_and_then_kept_in_the_process(inv, client):
    client.set("inv:42", b'{"id":42}')
    keep(inv, "42", {"id": 42})
    calls = client.info("commandstats")["cmdstat_mget"]["calls"]
    first = inv.get("42")
    first["id"] = "changed by the caller"
    assert inv.get("42") == {"id": 42}
    assert inv.get(42) == {"id": 42}
    assert inv.get_many(["42"]) == inv.get_many(["42"], fill=True) == {"42": {"id": 42}}
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == calls, "the server was asked again"


def test_change_is_seen(inv, client):
    client.set("inv:42", b'{"v":1}')
    keep(inv, "42", {"v": 1})
    client.set("inv:42", b'{"v":2}')
    wait_until(lambda: inv.get("42") == {"v": 2}, "the change is seen")
    client.delete("inv:42")
    wait_until(lambda: inv.get("42") is None, "the removal is seen")


def test_many_rows_come_from_the_process_and_the_rest_from_the_server(inv, client):
    client.mset({f"inv:{n}": b'{"id":%d}' % n for n in range(3)})
    keep(inv, "0", {"id": 0})
    wanted = {"2": {"id": 2}, "nope": None, "0": {"id": 0}, "1": {"id": 1}}
    assert list(inv.get_many(wanted).items()) == list(wanted.items())
    assert inv.near_statistics().rows >= 3


def test_row_that_was_filled_is_not_absent_in_the_next_read(unheard, inv):
    keep(inv, "1", None)
    assert inv.get("1", fill=True) == {"id": 1}
    assert inv.get("1") == {"id": 1}
    keep(inv, "2", None)
    assert inv.get_many(["2", "3"], fill=True) == {"2": {"id": 2}, "3": {"id": 3}}
    assert inv.get_many(["2", "3"]) == {"2": {"id": 2}, "3": {"id": 3}}


def test_row_that_the_client_has_read_is_not_older_in_the_next_read(unheard, inv, client, monkeypatch):
    """When one row of a read cannot be fetched, the client reads all of them, also those that are kept."""
    client.set("inv:1", b'{"v":1}')
    keep(inv, "1", {"v": 1})
    client.mset({"inv:1": b'{"v":2}', "inv:2": b'{"v":2}'})
    monkeypatch.setattr(TrackingSession, "fetch", lambda *_: None)  # as of one that is over
    assert inv.get_many(["1", "2"]) == {"1": {"v": 2}, "2": {"v": 2}}
    assert inv.get("1") == {"v": 2}


def test_age_is_asked_of_the_server(inv, schedule):
    schedule.put_rows({"42": (100, 0)})
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"42": b'{"id":42}'})
    keep(inv, "42", {"id": 42})
    assert inv.get("42", max_age=60) == {"id": 42}
    schedule._client.zincrby("refreshed:", -100, "42")
    assert inv.get("42", max_age=60) is None
    assert 100 <= inv.age("42") < 160


def test_wrong_number_of_rows_is_a_clear_error(valkey):
    for kind in READER_KINDS.values():
        with pytest.raises(ArgumentError, match="near is -1: allowed is a number of rows"):
            kind("inv", url=valkey.url_for(9), near=-1)


def test_first_read_while_the_interpreter_ends_returns(valkey, client):
    client.set("inv:1", b'{"id": 1}')
    program = ENDING.format(url=valkey.url_for(9))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("{'id': 1}\n" * 2, "", 0)
