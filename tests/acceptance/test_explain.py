"""`rowcache explain` of a row of real processes: which change, dispatcher, task and worker."""

import json
import os

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

SEND = "from rowcache_tasks.tasks import {0}; print({0}.delay('inv', {1}).id)"
LEASE = {"ROWCACHE_LEASE": "60"}


def explain(deployment):
    command = [*CELERY, "rowcache", "explain", "inv", "42", "--json"]
    done = run_forked(command, env=deployment.env_of("operator", **LEASE))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def is_started(deployment):
    """Whether a worker has started the batch in which row 42 is claimed."""
    due = repr(deployment.client.zscore("schedule:", "42"))
    return b'"worker_pid"' in b"".join(deployment.client.zrange("notes:", due, due, byscore=True))


def test_row_is_explained_from_its_schedule_to_its_drop(deployment):
    host, client = os.uname().nodename, deployment.client
    beat, worker = deployment.start_beat(**LEASE), deployment.start_worker("one", **LEASE)
    deployment.sql("BEGIN")
    deployment.sql("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")  # the SELECT waits
    task = deployment.run(SEND.format("schedule_row", "42, 0.5"))
    wait_until(lambda: client.zscore("schedule:", "42") and is_started(deployment), "a worker waits for the table")
    wait_until(lambda: b'"one@' in b"".join(client.zrange("processes:", 0, -1)), "the worker has noted itself")
    found = explain(deployment)
    change, claim = found["change"], found["claim"]
    assert (change["change"], change["task"]) == ("rowcache_tasks.tasks.schedule_row", task)
    assert (change["worker"], change["sender"].partition("@")[2]) == (f"one@{host}", host)
    assert (claim["dispatcher"], claim["pid"], claim["worker"]) == (f"beat@{host}", beat.pid, f"one@{host}")
    assert found["reason"] == "claimed"
    assert f"which one@{host} (process {claim['worker_pid']}) has started " in found["text"]
    worker.kill()
    deployment.start_worker("two", **LEASE)
    wait_until(lambda: b'"two@' in b"".join(client.zrange("processes:", 0, -1)), "the other has noted itself")
    for member in client.zrange("processes:", 0, -1):
        if b'"one@' in member:
            client.zincrby("processes:", -20, member)  # instead of 20 seconds
    found = explain(deployment)
    assert (found["reason"], found["text"].split(":")[0]) == ("worker_lost", f"one@{host} was killed or hangs")
    deployment.sql("ROLLBACK")
    deployment.run(SEND.format("refresh_now", "[42]"))
    wait_until(lambda: b" refreshed - 42" in b"".join(client.lrange("outcomes:", 0, -1)), "it is refreshed")
    task = deployment.run(SEND.format("unschedule_row", "42"))
    wait_until(lambda: not client.exists("inv:42"), "the row is dropped")
    found = explain(deployment)
    assert found["reason"] == "dropped"
    assert found["text"].startswith(f"dropped by unschedule_row (task {task}, sent by gen")
    assert b'"worker_pid"' in b"".join(client.zrange("notes:", 0, -1)), "of the worker that was killed"
    assert client.zcard("notes:") <= 5, "the claims of the other are gone"
