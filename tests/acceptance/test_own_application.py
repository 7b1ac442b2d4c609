"""A team's own Celery application with `install(app)`: its tasks and beat entries run as before."""

import json
import sys

import pytest
from support.fork_server import run_forked
from support.forked_child import python_child
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

PROJECT = """
import os
import threading
from celery import Celery
from kombu import Queue
from rowcache_tasks import install

app = Celery("shop_project")
app.conf.update(
    broker_url=os.environ["SHOP_BROKER"],
    rowcache_redis_url=os.environ["SHOP_REDIS"],
    rowcache_database_url=os.environ["SHOP_DATABASE"],
    rowcache_tables={"inv": {"table": "inventory"}},
    rowcache_lease=5,
    task_queues=[Queue("celery"), Queue("mail")],
    task_routes={"shop.*": {"queue": "mail"}},
    task_serializer="pickle",
    accept_content=["json", "pickle"],
    task_compression="gzip",
    beat_schedule={"often": {"task": "shop.note", "schedule": 0.5, "args": [{"beat"}]}},
    beat_schedule_filename=os.environ["SHOP_FOLDER"] + "/beat",
)
install(app)

class Lock:
    def __reduce__(self):
        return threading.Lock, ()

@app.task(name="shop.note")
def note(words):
    with open(os.environ["SHOP_FOLDER"] + "/notes", "a") as notes:
        notes.write(" ".join(words) + "\\n")
"""


@pytest.fixture
def project(deployment):
    """Start `celery -A shop_project …`, and run it to its end."""
    folder = deployment.folder
    (folder / "shop_project.py").write_text(PROJECT)
    env = {name: value for name, value in deployment.env.items() if not name.startswith(("ROWCACHE_", "CELERY_"))}
    env |= {
        "SHOP_BROKER": deployment.servers["CELERY_BROKER_URL"],
        "SHOP_REDIS": deployment.valkey.url,
        "SHOP_DATABASE": deployment.database_url,
        "SHOP_FOLDER": str(folder),
        "C_FORCE_ROOT": "1",  # Celery refuses pickle to root
        "PYTHONPATH": f"{folder}:{env['PYTHONPATH']}",
    }
    celery = [sys.executable, "-m", "celery", "-A", "shop_project"]

    class Project:
        def start(self, name, *arguments):
            child = python_child([*celery, *arguments], env=env, log=folder / f"{name}.log", cwd=folder)
            child.start()
            deployment.children.append(child)
            return child

        def run(self, *arguments):
            return run_forked([*celery, *arguments], env=env, cwd=folder)

        def call(self, code):
            done = run_forked([sys.executable, "-c", f"from shop_project import *\n{code}"], env=env, cwd=folder)
            assert done.returncode == 0, done.stderr

        def notes(self):
            path = folder / "notes"
            return path.read_text().split() if path.exists() else []

    return Project()


def test_worker_beat_and_commands_of_a_project_of_its_own(deployment, project):
    project.start("mail", "worker", "-l", "info", "-Q", "celery,mail", "-n", "mail@%h", "-c", "1")
    project.start(
        "rows", "worker", "-l", "info", "-Q", "rowcache.refresh,rowcache.schedule", "-n", "rows@%h", "-c", "1"
    )
    project.start("beat", "beat", "-S", "rowcache", "-l", "info", "--pidfile=")
    project.call(
        "from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', 42, 1); note.delay({'sent'})"
    )
    wait_until(lambda: deployment.client.exists("inv:42"), "the row is cached")
    wait_until(lambda: {"sent", "beat"} <= set(project.notes()), "its own task and beat entry run")
    wait_until(lambda: project.run("rowcache", "health").returncode == 0, "all is well")
    status = json.loads(project.run("rowcache", "status", "--json").stdout)
    assert [worker["name"].partition("@")[0] for worker in status["workers"]] == ["rows"]
    doctor = project.run("rowcache", "doctor").stdout
    assert "ok    workers: 1 alive: rows@" in doctor
    assert "ok    queue rowcache.schedule: 0 changes waiting, 1 worker" in doctor
    assert deployment.log("mail").count("no_queue: this worker consumes celery, mail, so it refreshes nothing") == 1
    assert "no_queue" not in deployment.log("rows")
    logs = "".join(map(deployment.log, ("mail", "rows", "beat")))
    assert "message_refused" not in logs
    assert "Traceback" not in logs


LOCKS = """
for _ in range(3):
    note.apply_async([Lock()], argsrepr="a lock")
note.delay({"good"})
"""


def test_message_that_the_pool_cannot_take_costs_no_process_of_it(deployment, project):
    """A lock cannot be pickled once more, for the process of the pool."""
    project.start("mail", "worker", "-l", "info", "-Q", "mail", "-n", "mail@%h", "-c", "1")
    project.call(LOCKS)
    wait_until(lambda: "good" in project.notes(), "the next task runs")
    assert deployment.log("mail").count("message_refused: the pool cannot take it: TypeError: cannot pickle") == 3


def test_dispatcher_beside_a_beat_with_another_scheduler(deployment, project):
    project.start("worker", "worker", "-l", "info", "-c", "1")
    project.start("beat", "beat", "-l", "info", "--pidfile=")
    deployment.client.zadd("delay:", {"42": 1})
    deployment.client.zadd("schedule:", {"42": 1})
    wait_until(lambda: "beat" in project.notes(), "the entry of its own beat runs")
    done = project.run("rowcache", "health")
    assert done.returncode == 1
    assert (
        "dispatchers: none is alive, so nothing is refreshed, and beat_scheduler celery.beat:PersistentScheduler "
        "dispatches nothing: start celery -A shop_project rowcache dispatch, or beat -S rowcache\n"
    ) in done.stderr
    dispatcher = project.start("dispatch", "rowcache", "dispatch")
    wait_until(lambda: deployment.client.exists("inv:42"), "the row is cached")
    wait_until(lambda: project.run("rowcache", "health").returncode == 0, "the dispatcher has noted itself")
    assert "ready: dispatching inv" in deployment.log("dispatch")
    dispatcher.stop(timeout=60)
    assert not [note for note in deployment.client.zrange("processes:", 0, -1) if b'"dispatcher"' in note]
    assert "Traceback" not in deployment.log("dispatch")
