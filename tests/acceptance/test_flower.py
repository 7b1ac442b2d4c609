"""What an operator sees in Flower, asked of a real Flower over HTTP."""

import json
import re
import urllib.error

import pytest
from support.fork_server import run_forked
from support.forked_child import python_child
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

GATE = (
    """
    CREATE FUNCTION is_open(id bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF id > 300 AND current_query() ILIKE 'FETCH%' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
        RETURN true;
    END $$
    """,
    "CREATE POLICY gate ON inventory USING (is_open(id))",
    "ALTER TABLE inventory ENABLE ROW LEVEL SECURITY",
    "SELECT pg_advisory_lock(1)",
)
"""Stops a program that streams the table after its 300th row."""


@pytest.fixture
def flower(deployment):
    return deployment.start_flower()


def tasks_of(fetch, name):
    found = json.loads(fetch("/api/tasks?limit=200"))
    return [task for task in found.values() if (task["name"] or "").endswith(name)]


def test_flower_shows_batches_with_their_counts_and_needs_a_login(deployment, flower):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower("/api/tasks", headers={})
    deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker can start a batch within its lease")
    deployment.start_beat()
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 101)})

    def finished():
        return [task for task in tasks_of(flower, "refresh_row") if task["state"] == "SUCCESS"]

    task = wait_until(finished, "Flower shows a batch that succeeded", pause_s=0.1)[0]
    assert task["args"].startswith("('inv', 100 rows: ")
    assert task["result"].startswith("{'refreshed': 100, 'late_ms': ")
    columns = re.findall(r'data-column="(\w+)"', flower("/tasks"))
    assert columns[:5] == ["name", "state", "args", "result", "exception"]


def test_flower_shows_the_progress_of_schedule_table(deployment, flower):
    for statement in GATE:
        deployment.sql(statement)
    deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    deployment.run("from rowcache_tasks.tasks import schedule_table; schedule_table.delay('inv', 3600)")

    def shown():
        return [(task["state"], task["result"]) for task in tasks_of(flower, "schedule_table")]

    wait_until(lambda: shown() == [("PROGRESS", "200 of 1,000 rows scheduled")], "Flower shows it", pause_s=0.1)
    deployment.sql("SELECT pg_advisory_unlock(1)")
    wait_until(lambda: [state for state, _ in shown()] == ["SUCCESS"], "Flower shows the end", pause_s=0.1)
    assert deployment.client.zcard("schedule:") == 1000
    scores = deployment.client.zrange("schedule:", 0, -1, withscores=True)
    first, last = scores[0][1], scores[-1][1]
    assert last - first > 3500, "the first refreshes are spread over the interval"


def test_flower_is_local_from_any_directory_and_needs_a_password_for_others(deployment):
    """In a directory without a flowerconfig.py."""
    env = deployment.env_of("operator") | {"CELERY_CONFIG_MODULE": "celeryconfig"}
    command = [*CELERY, "flower", "--port=0"]
    done = run_forked(command, env=env | {"FLOWER_ADDRESS": "0.0.0.0"}, cwd=deployment.folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == ("rowcache_tasks: Flower on 0.0.0.0 needs FLOWER_BASIC_AUTH=user:password")
    child = python_child(command, env=env, log=deployment.folder / "flower.log", cwd=deployment.folder)
    child.start()
    deployment.children.append(child)
    wait_until(lambda: "Visit me at http://127.0.0.1:" in deployment.log("flower"), "it listens, and says where")
