"""What people see when a foreign client has put nonsense into our keys: one line or sane output, never a traceback."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from functional.database.test_hostile_values import OURS, RECORDS, SCORES, STATS, WRONG
from prometheus_client import CollectorRegistry, generate_latest
from support.settings_module import write_settings

from rowcache_tasks import RowCache
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("health",),
    ("errors",),
    ("errors", "note"),
    ("errors", "--release"),
    ("get", "inv", "1"),
    ("get", "inv", "1", "--age"),
    ("rows", "inv", "--oldest"),
    ("rows", "inv", "--failing"),
    ("explain", "inv", "1"),
    ("explain", "inv", "1", "--json"),
    ("doctor",),
    ("refresh", "inv", "1"),
    ("schedule", "inv", "5", "1"),
    ("unschedule", "inv", "1"),
    ("pause", "inv"),
    ("resume", "inv"),
    ("drop-table", "inv", "--yes"),
)
VALUES = [
    b"hostile",
    b"",
    b"\xff",
    b"5",
    b"[]",
    b'"\\u001b"',
    b"{",
    b'{"a":' * 100_000,
    b"[" * 100_000,
    b"x" * 1_000_000,
]


@pytest.fixture
def run_all(client, valkey, monkeypatch, tmp_path):
    """Run every command and read the metrics; returns what each command printed."""
    tables = {"inv": {"table": "inventory"}, "note": {"table": "note", "namespace": "note"}}
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=tables)

    def run_all():
        printed = {}
        for command in COMMANDS:
            done = CliRunner().invoke(rowcache, list(command), obj=SimpleNamespace(app=None))
            assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)
            assert done.exit_code in (0, 1), command
            assert len(done.output) < 20_000, command
            if command[0] != "get" or done.exit_code:
                assert "\x1b" not in done.output
                assert all(line.isprintable() for line in done.output.splitlines()), command
            if done.exit_code and command[0] not in ("doctor", "health"):
                assert len(done.stderr.splitlines()) == 1, command
            printed[command] = done.output
        registry = CollectorRegistry()
        registry.register(RowCacheCollector(client, load_settings()))
        assert b"rowcache_up" in generate_latest(registry)
        return printed

    return run_all


@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.parametrize("name", OURS)
def test_key_of_another_type_gives_one_line(run_all, client, name, kind):
    WRONG[kind](client, f"{name}:")
    run_all()


@pytest.mark.parametrize("kind", list(WRONG))
def test_value_of_another_type_gives_one_line(run_all, client, kind):
    WRONG[kind](client, "inv:1")
    run_all()


@pytest.mark.parametrize("name", ["schedule", "delay", "refreshed", "changed"])
@pytest.mark.parametrize("score", [*SCORES.values()][:4])
def test_score_out_of_all_bounds_is_shown(run_all, client, name, score):
    for key in ("schedule:", "delay:"):
        client.zadd(key, {"1": 5})
    client.execute_command("ZADD", f"{name}:", score, "1")
    printed = run_all()
    assert json.loads(printed["status", "--json"])["tables"]["inv"]["scheduled"] == 1


def test_garbage_in_statistics_and_records_is_shown_in_bounds(run_all, client):
    fields = STATS | {
        "late:": 1,
        "late:999999999": 1,
        "late:-5": "x",
        b"\xff": 1,
        "x" * 99_999: 1,
    }
    client.hset("stats:", mapping=fields)
    client.hset("state:", "committed_at", "never")
    for n, record in enumerate(RECORDS):
        client.hset("failures:", str(n), record)
    client.hset("failures:", b"\xff\x00\x1b[2J\n", "x")
    client.hset("failures:", "x" * 1_000_000, "x")
    client.hset("failures:", "1", RECORDS[0])
    printed = run_all()
    assert f"inv: {len(RECORDS) + 2} failing rows" in printed["errors",]
    for time in ("inf", "nan", "-inf", "1e400", "0x10"):
        client.hset("state:", mapping=dict.fromkeys(("committed_at", "paused", "resumed", "pause_stamp"), time))
        run_all()


def test_row_ids_of_any_length_and_kind_are_shown_in_bounds(run_all, client):
    for member in (b"\xff", b"\x1b[2J", b"a\r\nb", b"x" * 1_000_000, "\u202e42".encode(), b" ", b"*", b"{}"):
        client.zadd("schedule:", {member: 1})
        client.zadd("schedule:note", {member: 2e9})
        client.hset("failures:note", member, "{}")
    run_all()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value[:20]))
def test_value_that_is_no_row_is_not_cached_for_readers_and_said_to_people(run_all, client, valkey, value, caplog):
    client.mset({"inv:1": value, "inv:2": b'{"id":2}'})
    cache = RowCache("inv", url=valkey.url_for(9))
    assert cache.get("1") is None
    assert cache.get_many(["1", "2"]) == {"1": None, "2": {"id": 2}}, "the others are read all the same"
    assert "row '1' of inv counts as not cached" in caplog.text
    cache.close()
    assert "is not a JSON object" in run_all()["get", "inv", "1"]


@pytest.mark.parametrize("kind", ["list", "hash", "zset"])
def test_value_of_another_type_is_not_cached_for_readers(client, valkey, kind):
    WRONG[kind](client, "inv:1")
    cache = RowCache("inv", url=valkey.url_for(9))
    assert cache.get("1") is None
    assert cache.get_many(["1"]) == {"1": None}
    cache.close()


@pytest.mark.parametrize("row_id", [None, 1.5, "\ud800", pytest.param(10**5000, id="huge")])
def test_reading_a_row_that_cannot_be_is_an_error(client, valkey, row_id):
    cache = RowCache("inv", url=valkey.url_for(9))
    for read in (cache.get, cache.age, lambda one: cache.get_many([one])):
        with pytest.raises(ArgumentError, match="row id is"):
            read(row_id)
    cache.close()
