"""A worker that is connected and consumes nothing: `rowcache health` finds it, the Compose file ends it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.waiting import wait_until

from rowcache_tasks.demo.servers import Child

pytestmark = pytest.mark.acceptance

ROWS = {str(n): (1, 0) for n in range(1, 21)}
INIT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]) & 255)"
"""As docker-init: starts the program as its child, and ends with it."""

CANCEL = """
from rowcache_tasks.celery import app
print(app.control.cancel_consumer("rowcache.refresh", reply=True, timeout=30, limit=1))
"""


def health(deployment, *arguments, role="worker"):
    return run_forked([*CELERY, "rowcache", "health", *arguments], env=deployment.env_of(role))


def let_time_pass(deployment, seconds):
    """Let everything that happened have happened so many seconds earlier."""
    deployment.client.hincrbyfloat("state:", "committed_at", -seconds)
    for key in ("refreshed:", "changed:"):
        for row_id in ROWS:
            deployment.client.zincrby(key, -seconds, row_id)


def stall(deployment):
    """Cancel the consumer of the only worker, which stays connected; and wait until that shows."""
    answer = wait_until(lambda: deployment.run(CANCEL, role="operator").strip("[]\n"), "the worker answers")
    assert "no longer consuming" in answer

    def is_stalled():
        let_time_pass(deployment, 100)
        return health(deployment).returncode == 1

    wait_until(is_stalled, "health fails")


def test_worker_that_consumes_nothing_is_found(deployment):
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows(ROWS)
    wait_until(lambda: deployment.stat("refreshed") == len(ROWS), "the rows are cached")
    wait_until(
        lambda: health(deployment).stdout.startswith("ok: inv: no row waits, last commit "), "it says that all is well"
    )
    stall(deployment)
    assert worker.is_running
    found = health(deployment, "--liveness", role="dispatcher")
    assert found.returncode == 1
    assert "stalled for over 10 s: inv: a row has been due for " in found.stderr


@pytest.fixture
def namespaces():
    """Skip where a test may not make namespaces for processes, as in most containers."""
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs unshare and nsenter, of util-linux")
    probe = subprocess.run(["unshare", "-Urpf", "--mount-proc", "true"], capture_output=True, check=False, text=True)
    if probe.returncode:
        pytest.skip(f"may not make a PID namespace: {probe.stderr.strip()}")


class Container:
    """A worker as the child of process 1 of a PID namespace, and the health check of docker-compose.yml in it."""

    def __init__(self, deployment):
        self.folder = deployment.folder / "tmp"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "TMPDIR": str(self.folder), "HOSTNAME": socket.gethostname()}
        self._env = deployment.env_of("worker", **env)
        command = ["unshare", "-Urpf", "--mount-proc", "--kill-child", sys.executable, "-c", INIT, *CELERY, "worker"]
        self.child = Child(command, env=self._env, log=deployment.folder / "container.log", cwd=ROOT)
        deployment.children.append(self.child)
        services = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
        self._test = [part.replace("$$", "$") for part in services["worker"]["healthcheck"]["test"][1:]]

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)  # a tmpfs
        self.folder.mkdir()
        self.child.start()

    def check(self, program=None):
        """Run the health check, as if the container ran another program when one is given; returns its status."""
        (init,) = psutil.Process(self.child.pid).children()
        enter = ["nsenter", "--target", str(init.pid), "--user", "--pid", "--mount", "--preserve-credentials"]
        test = [program if program and part == "worker" else part for part in self._test]
        done = subprocess.run([*enter, *test], env=self._env, cwd=ROOT, capture_output=True, check=False, timeout=180)
        return done.returncode


def test_health_check_of_the_compose_file_ends_a_worker_that_consumes_nothing(deployment, namespaces):
    container = Container(deployment)
    container.start()
    deployment.start_beat()
    deployment.schedule.put_rows(ROWS)
    wait_until(lambda: deployment.stat("refreshed") == len(ROWS), "the rows are cached")
    wait_until(lambda: container.check() == 0, "the check passes")
    stall(deployment)
    assert [container.check() for _ in range(3)] == [1, 1, 1]
    assert container.check("rowcache") == 1
    assert container.child.is_running, "what a person runs in a container of this service is left alone"
    container.check()
    wait_until(lambda: not container.child.is_running, "the container has ended")
    done = deployment.stat("unchanged")
    container.start()  # as `restart: unless-stopped` does
    wait_until(lambda: deployment.stat("unchanged") > done, "rows are committed again")
    assert container.check() == 0
