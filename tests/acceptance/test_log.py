"""Logs of real processes: JSON, ready lines, hostile texts, one line a minute for a table that fails."""

import json
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

HOSTILE = "no\x1b[2Jsuch\r\ntable\u202e"
SEND = """
from rowcache_tasks.tasks import refresh_row
refresh_row.apply_async((%r, ["1"]), queue="rowcache.refresh", argsrepr="hidden")
"""


def lines_of(deployment, name):
    """Return the complete lines of a log from the first that is JSON on: before it, the process starts."""
    lines = deployment.log(name).split("\n")[:-1]
    return lines[next((at for at, line in enumerate(lines) if line.startswith("{")), len(lines)) :]


def test_lines_are_json_and_printable_whatever_messages_and_the_database_say(deployment):
    deployment.sql("UPDATE inventory SET name = 'bad'")
    deployment.schedule.put_rows({"1": (0.2, 0), "no\x1b[31m\nkey": (0.2, 0)})
    deployment.start_worker(ROWCACHE_LOG_FORMAT="json")
    deployment.start("beat", "beat", "--loglevel=info", "--pidfile=", ROWCACHE_LOG_FORMAT="json")
    wait_until(lambda: deployment.stat("failed") > 3, "the row that is no key failed several times")
    deployment.run(SEND % HOSTILE)
    wait_until(lambda: "table 'no" in deployment.log("worker"), "the hostile name is logged")
    deployment.sql("DROP TABLE inventory")
    wait_until(lambda: "tried again later" in deployment.log("worker"), "the table is gone")
    for name, ready in (
        ("worker", "ready: refreshing inv from rowcache.refresh, rowcache.schedule"),
        ("beat", "ready: dispatching inv to rowcache.refresh"),
    ):
        found = [json.loads(line) for line in lines_of(deployment, name)]
        assert {event["message"]: event for event in found}[ready]["tables"] == ["inv"]
        assert {"timestamp", "level", "logger", "process", "message"} <= found[0].keys()
        assert all(line.isprintable() for event in found for line in event["message"].split("\n"))
    events = [json.loads(line) for line in lines_of(deployment, "worker")]
    failed = [event for event in events if event["message"].startswith("rows_failed: ")]
    assert "among them 'no\\x1b[31m\\nkey': row id" in failed[0]["message"]
    times = [datetime.fromisoformat(event["timestamp"]) for event in failed]
    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap > timedelta(seconds=59) for gap in gaps), "one line a minute, of both processes"
