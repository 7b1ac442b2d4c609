"""Notes of claims and changes, for `rowcache explain`: found by the times of a row, and bounded."""

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule import note
from rowcache_tasks.schedule.note import ask_outcomes, end_notes, note_change, read_notes, start_notes
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Backoff, Schedule

KEYS_OF_EXPLAIN = ("notes:", "outcomes:", "asked:")


@pytest.fixture
def notes(client, schedule):
    """Function that returns the notes of row 1."""

    def notes():
        (row,) = read_row_states(client, schedule.table, ["1"])
        return read_notes(client, schedule.table, schedule.table, row)

    return notes


def send(schedule, commands):
    with schedule.exchange() as exchange:
        exchange.send(commands)
        exchange.read()


def test_claim_is_found_from_its_dispatcher_to_its_end(client, schedule, notes):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    claim, _ = schedule.claim_rows(1, 30, note='{"dispatcher":"beat@a","pid":7,"task":"t-1"}')
    other, _ = schedule.claim_rows(1, 30, note='{"dispatcher":"beat@b","pid":8,"task":"t-2"}')
    found = notes().claim
    assert (found.dispatcher, found.pid, found.task, found.worker) == ("beat@a", 7, "t-1", None)
    assert found.at == float(claim.claimed_at)
    started = {"worker": "celery@a", "worker_pid": 9, "task": "t-1", "started_at": 1.5}
    send(schedule, start_notes([claim], "notes:", started))
    found = notes().claim
    assert (found.dispatcher, found.worker, found.worker_pid, found.started_at) == ("beat@a", "celery@a", 9, 1.5)
    send(schedule, end_notes([claim], "notes:"))
    assert notes().claim is None
    assert client.zrange("notes:", 0, -1, withscores=True)[0][1] == float(other.lease_until)


def test_change_is_found_by_its_stamp(client, schedule, notes):
    stamp = "{}.{:06}".format(*client.time())
    note_change(client, schedule.table, stamp, {"change": "a.b.schedule_row", "task": "t", "sender": "gen1@web"})
    schedule.put_rows({"1": (100, 0)}, stamp)
    assert notes().change.describe() == "schedule_row (task t, sent by gen1@web)"
    schedule.put_rows({"1": (100, 0)})
    assert notes().change is None


def test_change_of_a_divided_table_is_noted_once_and_found_from_each_part(client):
    table, stamp = Table("inv", "inventory", partitions=8), "{}.{:06}".format(*client.time())
    note_change(client, table, stamp, {"change": "schedule_row"})
    for part, row_ids in table.divide(["1", "2"]):
        schedule = Schedule(client, part)
        schedule.put_rows({row_ids[0]: (5, 0)}, stamp)
        schedule.claim_rows(1, 30, note='{"dispatcher":"beat@a"}')
        (row,) = read_row_states(client, part, row_ids)
        found = read_notes(client, table, part, row)
        assert (found.claim.dispatcher, found.change.change) == ("beat@a", "schedule_row")
    assert client.zcard("notes:") == 1


def test_outcomes_with_a_reason_are_noted_and_all_of_a_row_that_was_asked_for(client, schedule, notes):
    schedule.put_rows({"1": (100, 0)})
    claims = [schedule.lease_rows(["1"], 30) for _ in range(2)]
    schedule.commit_rows(claims[1], {"1": b"{}"})
    schedule.commit_rows(claims[0], {"1": b'{"id":1}'})
    assert [(found.outcome, found.reason) for found in notes().outcomes] == [
        ("superseded", "committed since the claim")
    ]
    ask_outcomes(client, schedule.table, "1")
    assert 3500 < client.ttl("asked:") <= 3600
    schedule.touch_rows(["1", "2"])
    schedule.commit_rows(schedule.claim_rows(1, 30)[0], {"1": b"{}"})
    schedule.miss_rows(schedule.lease_rows(["1"], 30), ["1"], Backoff())
    assert [found.outcome for found in notes().outcomes] == ["missing", "unchanged", "touched", "superseded"]
    assert client.llen("outcomes:") == 4


def test_notes_are_bounded(client, schedule, monkeypatch):
    monkeypatch.setattr(note, "MAX_NOTES", 3)
    monkeypatch.setattr(note, "MAX_ASKED", 3)
    for number in range(5):
        note_change(client, schedule.table, str(number), {"change": "x"})
        ask_outcomes(client, schedule.table, str(number))
    assert [at for _, at in client.zrange("notes:", 0, -1, withscores=True)] == [2, 3, 4]
    assert client.scard("asked:") == 3
    schedule.put_rows({"1": (100, 0)})
    claim, _ = schedule.claim_rows(1, 30)
    send(schedule, start_notes([claim], "notes:", {}))
    assert client.zcard("notes:") == 3
    rows = [str(number) for number in range(1200)]
    schedule.commit_rows(claim, dict.fromkeys(rows, b"{}"))
    assert client.llen("outcomes:") == 1000
    client.zadd("delay:", {"x" * 1025: -1, "y" * 1024: -1})
    client.zadd("schedule:", {"x" * 1025: 0, "y" * 1024: 0})
    schedule.claim_rows(10, 30)
    assert [client.lindex("outcomes:", place)[-2:] for place in (0, 1)] == [b"yy", b"99"], "none of a longer id"


def test_deeply_nested_note_of_another_program_is_none(client, schedule, notes):
    schedule.put_rows({"1": (100, 0)})
    client.zadd("notes:", {'0 {"a":' + "[" * 100_000: client.zscore("schedule:", "1")})
    assert notes().claim is None


def test_scripts_do_the_same_without_notes(client, schedule):
    """Replies and keys are the same whether the keys of explain are kept, removed after each step, or of no use."""

    def run(spoil):
        client.flushdb()
        replies = []
        for step in (
            lambda: schedule.put_rows({"1": (100, 0), "2": (100, 0), "3": (-1, 0)}),
            lambda: schedule.claim_rows(1, 30, note="{}")[0].row_ids,
            lambda: schedule.claim_rows(10, 30, note="{}")[0].row_ids,
            lambda: schedule.touch_rows(["1"]),
            lambda: schedule.commit_rows(schedule.lease_rows(["2"], 30), {"1": b"{}", "2": b"{}"}),
            lambda: schedule.miss_rows(schedule.lease_rows(["1"], 30), ["1"], Backoff()),
        ):
            spoil()
            replies.append(step())
        client.delete(*KEYS_OF_EXPLAIN)
        counted = {name for name in client.hgetall("stats:") if not name.startswith(b"late")}
        return replies, sorted(client.keys()), counted, client.get("inv:2")

    def ask():
        ask_outcomes(client, schedule.table, "1")

    expected = run(ask)
    assert run(lambda: client.delete(*KEYS_OF_EXPLAIN)) == expected
    assert run(lambda: client.mset(dict.fromkeys(KEYS_OF_EXPLAIN, "x"))) == expected
