import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.settings_module import write_settings

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.row_walk import PIECE, walk_rows
from rowcache_tasks.schedule.rows import Backoff

INV = Table("inv", "inventory")


@pytest.fixture
def run(client, valkey, monkeypatch, tmp_path):
    """Run `rowcache rows` in this process."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    return lambda *arguments: CliRunner().invoke(rowcache, ["rows", *arguments], obj=SimpleNamespace(app=None))


@pytest.fixture
def ids(run):
    """Row ids in the order in which the command lists them."""
    return lambda *arguments: [
        json.loads(line)["row_id"] for line in run("inv", "--json", *arguments).stdout.splitlines()
    ]


def commit(schedule, *row_ids):
    schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], dict.fromkeys(row_ids, b"{}"))


def test_rows_are_listed_by_age_by_due_time_failing_and_by_prefix(client, schedule, run, ids):
    commit(schedule, "a*1", "a*2", "ab3", "d")
    for ago, row_id in enumerate(("a*2", "d", "ab3", "a*1")):
        client.zincrby("refreshed:", -100 * ago, row_id)
    client.zincrby("schedule:", -200, "ab3")
    schedule.put_rows({"bad": (100, 0)})
    schedule.release_rows(schedule.lease_rows(["bad"], 30), {"bad": "no\nsuch thing"}, Backoff())
    assert ids("--oldest") == ["a*1", "ab3", "d", "a*2"]
    assert ids("--latest", "--limit", "2") == ["a*2", "d"]
    assert ids("--due", "--limit", "2") == ["ab3", "bad"]
    assert ids("--failing") == ["bad"]
    assert sorted(ids("--prefix", "a*")) == ["a*1", "a*2"]
    assert ids("--oldest", "--prefix", "a*") == ["a*1", "a*2"]
    assert len(ids()) == 5
    (row,) = run("inv", "--failing", "--json").stdout.splitlines()
    row = json.loads(row)
    assert -60 < row.pop("due_in") < 2
    assert row == {
        "row_id": "bad",
        "age": None,
        "delay": 100.0,
        "cached": False,
        "failures": 1,
        "error": "no such thing",
    }
    (line,) = run("inv", "--oldest", "--limit", "1").stdout.splitlines()
    assert line.startswith("a*1  5 min old; refreshed every 100 s, due or its lease ends in ")


def test_walk_leaves_no_row_out_and_ends_while_rows_are_refreshed(client):
    now, count = client.time()[0], 3 * PIECE
    client.zadd("refreshed:", {f"{n:04}": now - count + n // 7 for n in range(count)})
    seen = []
    for n, row in enumerate(walk_rows(client, INV, "oldest")):
        seen.append(row.row_id)
        client.zadd("refreshed:", {f"{m:04}": now + n for m in range(max(0, n - 50), n + 1)})
        assert n < 2 * count
    assert {f"{n:04}" for n in range(count)} <= set(seen)
    assert len(seen) == count


def test_mistyped_command_option_or_table_is_status_2_with_the_right_name(run):
    for arguments, found in (
        (("inv", "--latst"), "Did you mean one of: '--latest', '--oldest'?"),
        (("nope",), "rowcache_tasks: table 'nope' is not in rowcache_tables: found 'inv'"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert found in done.stderr
    done = CliRunner().invoke(rowcache, ["row", "inv"], obj=SimpleNamespace(app=None))
    assert (done.exit_code, "rows" in done.stderr) == (2, True)
