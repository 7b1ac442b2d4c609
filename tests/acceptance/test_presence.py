"""Real dispatchers and workers note themselves, unless they hang."""

import os
import signal

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

from rowcache_tasks.schedule.process import DISPATCHER, WORKER, parse_processes

pytestmark = pytest.mark.acceptance

ROWS = {str(n): (1, 0) for n in range(1, 21)}


def processes(deployment):
    noted = deployment.client.zrange("processes:", 0, -1, withscores=True)
    return {found.name.partition("@")[0]: found for found in parse_processes(deployment.client.time()[0], noted)}


def health(deployment):
    done = run_forked([*CELERY, "rowcache", "health"], env=deployment.env_of("operator"))
    return done.returncode, done.stdout + done.stderr


def test_processes_note_themselves_and_a_worker_that_hangs_among_several_is_named(deployment):
    beat = deployment.start_beat()
    deployment.start_worker("one")
    deployment.start_worker("two")
    deployment.schedule.put_rows(ROWS)
    found = wait_until(lambda: len(now := processes(deployment)) == 3 and now, "all have noted themselves")
    assert found["beat"].kind == DISPATCHER
    assert found["beat"].tables == found["one"].tables == ("inv",)
    assert (found["one"].kind, found["one"].queues) == (WORKER, ("rowcache.refresh", "rowcache.schedule"))
    wait_until(lambda: any(processes(deployment)[name].batch_at for name in ("one", "two")), "batches are noted")
    measured = wait_until(lambda: [found for found in processes(deployment).values() if found.costs], "costs are noted")
    assert measured[0].pool == 2
    assert all(0 <= seconds < 60 for seconds in measured[0].costs["inv"])
    wait_until(lambda: health(deployment)[0] == 0, "all is well")
    hanging = processes(deployment)["two"].pid
    os.kill(hanging, signal.SIGSTOP)
    for member, _ in deployment.client.zrange("processes:", 0, -1, withscores=True):
        if b'"two@' in member:
            deployment.client.zincrby("processes:", -20, member)  # instead of 20 seconds
    status, shown = health(deployment)
    assert status == 1
    assert f"worker two@{os.uname().nodename} (process {hanging}) is silent for " in shown
    deployment.client.zremrangebyscore("processes:", "-inf", deployment.client.time()[0] - 15)
    wait_until(lambda: "two@" in health(deployment)[1], "its connection is older than some seconds")
    os.kill(hanging, signal.SIGCONT)
    wait_until(lambda: "two" in processes(deployment), "it notes itself again")
    beat.stop(timeout=60)
    wait_until(lambda: "beat" not in processes(deployment), "a dispatcher that stops is forgotten at once")
    assert "dispatchers: none is alive" in health(deployment)[1]


def test_worker_with_the_wrong_queues_says_so_and_the_waiting_change_is_named(deployment):
    deployment.start_beat()
    deployment.start_worker("wrong", "-Q", "celery")
    wait_until(
        lambda: "no_queue: this worker consumes celery, so it refreshes nothing" in deployment.log("wrong"), "it"
    )
    deployment.run("from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', 42, 1)")
    wait_until(lambda: "wrong" in processes(deployment), "it is noted")
    status, shown = health(deployment)
    assert status == 1
    assert "none consumes rowcache.schedule, so 1 schedule change waits, the oldest for " in shown
    got = run_forked([*CELERY, "rowcache", "get", "inv", "42"], env=deployment.env_of("operator"))
    assert "not scheduled" in got.stderr
    assert "1 schedule change waits" in got.stderr
    deployment.start_worker("right")
    wait_until(lambda: deployment.stat("refreshed"), "the row is cached")
    wait_until(lambda: health(deployment)[0] == 0, "all is well")
