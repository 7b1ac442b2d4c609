"""A worker that consumes nothing: `rowcache health` finds it, the check of the Compose file ends it and no other."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.waiting import wait_until

from demo.servers import Child

pytestmark = pytest.mark.acceptance

ROWS = {str(n): (1, 0) for n in range(1, 21)}
INIT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]) & 255)"
"""As docker-init: starts the program as its child, and ends with it."""

CANCEL = """
from rowcache_tasks.celery import app
print(app.control.cancel_consumer("rowcache.refresh", reply=True, timeout=30, limit=1))
"""


def health(deployment, *arguments, role="operator"):
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
    """A program as the child of process 1 of a PID namespace, and the health check of docker-compose.yml in it."""

    def __init__(self, deployment, service, program, role):
        self.folder = deployment.folder / f"tmp-{service}-{len(deployment.children)}"
        self.file = self.folder / "alive"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._env = deployment.env_of(role, PATH=path, ROWCACHE_ALIVE_FILE=str(self.file))
        self._env.pop("HOSTNAME", None)  # as under podman
        arguments = ["beat", "--pidfile="] if program == "beat" else ["worker", f"--hostname={self.folder.name}@%h"]
        inside = [sys.executable, "-c", INIT, *CELERY, *arguments]
        command = ["unshare", "-Urpf", "--mount-proc", "--kill-child", *inside]
        log = deployment.folder / f"{self.folder.name}.log"
        self.child = Child(command, env=self._env, log=log, cwd=ROOT)
        deployment.children.append(self.child)
        services = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
        self._program = program
        self._test = [part.replace("$$", "$") for part in services[service]["healthcheck"]["test"][1:]]

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)  # a tmpfs
        self.folder.mkdir()
        self.child.start()

    def check(self, program=None):
        """Run the health check, as if the container ran another program when one is given; returns its status."""
        init = next(iter(psutil.Process(self.child.pid).children()), None)
        if init is None:
            return None  # it has hardly started
        enter = ["nsenter", "--target", str(init.pid), "--user", "--pid", "--mount", "--preserve-credentials"]
        test = [program if program and part == self._program else part for part in self._test]
        done = subprocess.run([*enter, *test], env=self._env, cwd=ROOT, capture_output=True, check=False, timeout=180)
        return done.returncode

    def age(self, seconds):
        """Let the last touch have been so many seconds earlier."""
        at = time.time() - seconds
        os.utime(self.file, (at, at))

    def freeze(self):
        """Stop all processes of the container but its init, as a process that hangs does."""
        (init,) = psutil.Process(self.child.pid).children()
        for process in init.children(recursive=True):
            process.send_signal(signal.SIGSTOP)


def test_health_check_of_the_compose_file_ends_the_worker_that_hangs_and_no_other_process(deployment, namespaces):
    frozen, worker, beat = containers = [
        Container(deployment, "worker", "worker", "worker"),
        Container(deployment, "worker", "worker", "worker"),
        Container(deployment, "dispatcher", "beat", "dispatcher"),
    ]
    for container in containers:
        container.start()
    deployment.schedule.put_rows(ROWS)
    wait_until(lambda: deployment.stat("refreshed") == len(ROWS), "the rows are cached")
    wait_until(lambda: [container.check() for container in containers] == [0, 0, 0], "the checks pass")
    frozen.freeze()
    frozen.age(60)
    assert frozen.check() == 1
    frozen.age(121)
    assert frozen.check("rowcache") == 1
    assert frozen.child.is_running, "what a person runs in a container of this service is left alone"
    assert (worker.check(), beat.check()) == (0, 0), "the others are judged by themselves"
    frozen.check()
    wait_until(lambda: not frozen.child.is_running, "the container has ended")
    assert worker.child.is_running
    assert beat.child.is_running
    frozen.start()  # as `restart: unless-stopped` does
    wait_until(lambda: frozen.check() == 0, "it works again")


def test_worker_whose_consumer_was_cancelled_is_not_called_alive(deployment, namespaces):
    container = Container(deployment, "worker", "worker", "worker")
    container.start()
    deployment.start_beat()
    deployment.schedule.put_rows(ROWS)
    wait_until(lambda: deployment.stat("refreshed") == len(ROWS), "the rows are cached")
    wait_until(container.file.exists, "the worker notes itself")
    stall(deployment)
    container.age(121)
    container.check()
    wait_until(lambda: not container.child.is_running, "the container has ended")


def test_process_without_its_broker_is_not_restarted(deployment, namespaces):
    container = Container(deployment, "worker", "worker", "worker")
    container.start()
    wait_until(container.file.exists, "the worker consumes")
    deployment.valkey.stop()
    wait_until(lambda: not container.file.exists(), "it has lost its broker")
    assert container.check() == 1
    assert container.child.is_running
    deployment.valkey.start()
    wait_until(lambda: container.file.exists() and container.check() == 0, "it consumes again")
