"""The task that refreshes the claims of a message."""

import json
import sqlite3

import pytest
from support.deployment import with_login
from support.in_process_worker import in_process_worker

from rowcache_tasks import tasks
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.claim import to_messages
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.worker import warning
from rowcache_tasks.worker.refusal import read_refusal


@pytest.fixture
def runtime(valkey, client, tmp_path, monkeypatch):
    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY)")
    database.executemany("INSERT INTO inventory VALUES (?)", [[n] for n in range(4)])
    database.commit()
    database.close()
    url, tables = (
        f"sqlite:///{tmp_path}/shop.db",
        {"inv": {"table": "inventory"}, "p": {"table": "inventory", "partitions": 2}},
    )
    with in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), database_url=url, tables=tables) as runtime:
        yield runtime


@pytest.fixture
def claims(runtime):
    schedule = runtime.schedule("inv")
    schedule.put_rows({f"{n}": (100, 0) for n in range(4)})
    return [schedule.claim_rows(1, 30)[0] for _ in range(4)]


def run(claims):
    row_ids, fields = json.loads(json.dumps(to_messages(claims)))
    return tasks.refresh_row("inv", row_ids, **fields)


def counts_of(result):
    return {name: count for name, count in result.items() if name not in {"late_ms", "error"}}


def test_all_claims_of_a_message_are_refreshed_and_started(claims, client):
    assert client.zcard("queue:") == 4
    assert counts_of(run(claims)) == {"refreshed": 4}
    assert client.zcard("queue:") == 0
    assert [client.get(f"inv:{n}") for n in range(4)] == [b'{"id":%d}' % n for n in range(4)]


def test_newest_batch_that_was_started_is_noted_for_each_part_of_a_table(runtime, client):
    schedule = runtime.schedule("p")
    schedule.put_rows(dict.fromkeys("0123", (100, 0)))
    claims = [part.claim_rows(10, 30)[0] for part in schedule.parts.values()]
    row_ids, fields = to_messages(claims)
    assert counts_of(tasks.refresh_row("p", row_ids, **fields)) == {"refreshed": 4}
    started = [client.hget(part.table.keys.state, "started") for part in schedule.parts.values()]
    assert started == [claim.claimed_at.encode() for claim in claims]


def test_batch_whose_rows_failed_says_nothing_about_the_time_that_rows_take(runtime, monkeypatch):
    """A database that is down refuses in no time."""
    noted = []
    monkeypatch.setattr("rowcache_tasks.tasks.refresh.note_message", lambda *facts: noted.append(facts[:2]))
    schedule = runtime.schedule("inv")
    for row_ids in (["abc", "abd", "1"], ["1", "2", "abc"]):
        schedule.drop_rows(["1", "2", "abc", "abd"])
        schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
        run([schedule.claim_rows(10, 30)[0]])
    assert noted == [("", 3)]


def test_batch_of_a_deployment_with_another_redis_is_named(claims, client, caplog, monkeypatch):
    monkeypatch.setattr(warning, "INTERVAL_S", 0)
    run(claims[:1])
    assert "unlisted_batch" not in caplog.text
    client.delete("queue:")
    run(claims[1:2])
    run(claims[2:])  # the reply to the start of a batch is read with that of the next
    assert caplog.text.count("unlisted_batch: a batch is not in queue: of this Redis: ") == 1


def test_outcome_of_each_row_is_that_of_its_own_claim(runtime):
    schedule = runtime.schedule("inv")
    schedule.put_rows(dict.fromkeys(["1", "9", "abc"], (100, 0)))
    result = run([schedule.claim_rows(1, 30)[0] for _ in range(3)])
    assert counts_of(result) == {"refreshed": 1, "missing": 1, "failed": 1}
    assert "abc" in result["error"], "the reason of the row that failed"


def test_result_has_the_lateness_from_the_first_due_time_to_the_commit(runtime, client):
    schedule = runtime.schedule("inv")
    schedule.put_rows({"1": (100, 0)})
    client.zincrby("schedule:", -70, "1")
    claim, _ = schedule.claim_rows(1, 30)
    assert 70_000 <= run([claim])["late_ms"] < 130_000


def test_claim_that_cannot_be_committed_holds_up_none_of_its_message(
    claims, client, runtime, valkey, caplog, monkeypatch
):
    monkeypatch.setattr(warning, "_logged_at", bytearray(len(warning._logged_at)))
    own = [f"{name}*" for name in ("schedule:", "delay:", "refreshed:", "failures:", "stats:", "state:", "expiring:")]
    explaining = ("notes:*", "outcomes:*", "asked:*")
    keys = [*own, *explaining, "wake:*", "queue:*", *(f"inv:{claim.row_ids[0]}" for claim in claims[1:])]
    client.acl_setuser("narrow", enabled=True, passwords="+word", commands=["+@all"], keys=keys, reset=True)
    runtime.client = connect(with_login(valkey.url_for(9), "narrow", "word"), "test")
    result = run(claims)
    assert counts_of(result) == {"refreshed": 3, "failed": 1}
    assert result["error"].startswith("Redis refuses the commit: ACL failure in script")
    assert client.hlen("failures:") == 1
    claims = [runtime.schedule("inv").lease_rows(claim.row_ids, 30) for claim in claims]
    client.acl_setuser("narrow", enabled=True, passwords="+word", commands=["+@all", "-zadd"], keys=keys, reset=True)
    for _ in range(2):
        with pytest.raises(tasks.refresh_row.throws, match="ACL"):
            run(claims)
    assert caplog.text.count("refused: ") == 1, "a line a minute"
    assert "ACL failure in script" in read_refusal()
    runtime.client.close()
    client.acl_deluser("narrow")
    assert client.exists(*(f"inv:{n}" for n in range(4))) == 3


@pytest.mark.parametrize("more", [5, "ab", [5], [["1"]], [[["1"], {}]], [[["1"], {}]] * 4, {"1": 2}, None, [[5, None]]])
def test_more_claims_that_no_dispatcher_sends_are_refused(claims, client, more):
    row_ids, fields = to_messages(claims[:1])
    with pytest.raises(ArgumentError, match=r"more|claim|row_ids"):
        tasks.refresh_row("inv", row_ids, **fields | {"more": more})
    assert client.zcard("queue:") == 4, "nothing was begun"
