"""Runs Python programs in forks of a process that has imported their libraries: a start costs a tenth of the time.

The package itself and its configuration are imported by each program anew.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from importlib import import_module
from pathlib import Path

from support.project import ROOT

LIBRARIES = (
    *("celery.app.amqp", "celery.app.control", "celery.app.log", "celery.apps.beat", "celery.apps.worker"),
    *("celery.bin.base", "celery.concurrency.prefork", "celery.events.state", "celery.worker.consumer"),
    *("kombu.transport.redis", "msgspec", "psycopg", "redis.asyncio", "sqlalchemy.dialects.postgresql.psycopg"),
)


def run_forked(argv, *, env, cwd=ROOT, timeout_s=180):
    """Run [sys.executable, "-m", module, …] or [sys.executable, "-c", code, …] to its end, as subprocess.run would.

    Returns a CompletedProcess with stdout and stderr as texts; AssertionError if the program does not end in time.
    """
    (done,) = run_all_forked([argv], env=env, cwd=cwd, timeout_s=timeout_s)
    assert done.returncode is not None, f"{argv} did not end:\n{done.stderr}"
    return done


def run_all_forked(commands, *, env, cwd=ROOT, timeout_s=180):
    """Run programs at the same time; the return code of a program that was killed after timeout_s is None."""
    return fork_server().run(commands, dict(env), cwd, timeout_s)


@cache
def fork_server():
    server = ForkServer()
    atexit.register(server.close)
    return server


class ForkServer:
    """Process that forks programs on request, one list of them at a time."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.fork_server"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, commands, env, cwd, timeout_s):
        with tempfile.TemporaryDirectory(prefix="forked-") as folder:
            outputs = [(f"{folder}/{number}.out", f"{folder}/{number}.err") for number in range(len(commands))]
            request = {"commands": commands, "outputs": outputs, "env": env, "cwd": str(cwd), "timeout_s": timeout_s}
            with self._lock:
                print(json.dumps(request), file=self._process.stdin, flush=True)
                codes = json.loads(self._process.stdout.readline())
            return [
                subprocess.CompletedProcess(argv, code, *(Path(path).read_text(errors="replace") for path in paths))
                for argv, code, paths in zip(commands, codes, outputs, strict=True)
            ]

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve():
    """Fork the programs of each request; return the program to run in a child, None at the end of the input."""
    for name in LIBRARIES:
        import_module(name)
    assert "rowcache_tasks" not in sys.modules
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for argv, outputs in zip(request["commands"], request["outputs"], strict=True):
            if (pid := os.fork()) == 0:
                return become(argv, outputs, request["env"], request["cwd"])
            children.append(pid)
        deadline = time.monotonic() + request["timeout_s"]
        print(json.dumps([wait_for(pid, deadline) for pid in children]), flush=True)
    return None


def become(argv, outputs, env, cwd):
    """Take the environment, the folder and the streams of a program; return a function that runs it."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = open(0)  # noqa: SIM115 the old one has read ahead
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    own = {str(ROOT / "tests"), *sys.path[:1]}
    added = [path for path in env.get("PYTHONPATH", "").split(":") if path]
    sys.path[:] = [cwd, *added, *(path for path in sys.path if path not in own)]
    _, option, program, *arguments = argv
    sys.argv = [option, *arguments]
    if option == "-m":
        return lambda: runpy.run_module(program, run_name="__main__", alter_sys=True)
    return lambda: exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})


def wait_for(pid, deadline):
    """Return the exit status of a child; kill it, with its children, at the deadline and return None."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


if __name__ == "__main__" and (run := serve()):
    run()
