"""Runs Python programs in forks of a process that has imported their libraries: a start costs a tenth of the time.

The configuration, and the modules of the package that make the application, are imported by each program anew.
"""

import atexit
import ctypes
import gc
import inspect
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache, partial
from importlib import import_module
from pathlib import Path

from support.project import ROOT

LIBRARIES = (
    *("celery.app.amqp", "celery.app.control", "celery.app.log", "celery.apps.beat", "celery.apps.worker"),
    *("celery.apps.multi", "celery.backends.base", "celery.concurrency.prefork", "celery.contrib.migrate"),
    *("celery.events.state", "celery.worker.consumer"),
    # celery.bin.celery imports all of these for any command; itself it also imports the package.
    *(f"celery.bin.{name}" for name in ("amqp", "beat", "call", "control", "events", "graph", "list", "logtool")),
    *(f"celery.bin.{name}" for name in ("migrate", "multi", "purge", "result", "shell", "upgrade", "worker")),
    *("click_repl", "humanize", "prometheus_client", "pytz", "tornado.auth", "tornado.httpserver", "tornado.web"),
    *("xml.dom.minidom", "unicodedata"),
    *("celery.worker.autoscale", "celery.worker.components", "celery.worker.strategy", "flower.command"),
    *("billiard.popen_fork", "billiard.sharedctypes", "click_didyoumean", "click_plugins.core", "fractions"),
    *("celery.fixups.django", "kombu.transport.pyamqp", "kombu.transport.redis", "msgspec", "psycopg"),
    *("redis.asyncio", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"),
    *("rowcache_tasks.config.settings", "rowcache_tasks.database.source", "rowcache_tasks.reader"),
    "rowcache_tasks.schedule.servers",
)
PR_SET_PDEATHSIG = 1


def run_forked(argv, *, env, cwd=ROOT, timeout_s=180):
    """Run [sys.executable, "-m", module, …], "-c", code, … or a file of cwd, … to its end, as subprocess.run would.

    Returns a CompletedProcess with stdout and stderr as texts; AssertionError if the program does not end in time.
    """
    (done,) = run_all_forked([argv], env=env, cwd=cwd, timeout_s=timeout_s)
    assert done.returncode is not None, f"{argv} did not end:\n{done.stderr}"
    return done


def run_all_forked(commands, *, env, cwd=ROOT, timeout_s=180):
    """Run programs at the same time; the return code of a program that was killed after timeout_s is None."""
    with tempfile.TemporaryDirectory(prefix="forked-") as folder:
        outputs = [(f"{folder}/{number}.out", f"{folder}/{number}.err") for number in range(len(commands))]
        started = [
            ForkedProcess(argv, env=env, cwd=cwd, stdout=out, stderr=err)
            for argv, (out, err) in zip(commands, outputs, strict=True)
        ]
        deadline = time.monotonic() + timeout_s
        codes = [process.finish(deadline) for process in started]
        return [
            subprocess.CompletedProcess(argv, code, *(Path(path).read_text(errors="replace") for path in paths))
            for argv, code, paths in zip(commands, codes, outputs, strict=True)
        ]


class ForkedProcess:
    """Program in a fork, in its own session; what subprocess.Popen has, as far as it is used."""

    def __init__(self, argv, *, env, cwd, stdout, stderr, stdin=os.devnull):
        self.returncode = None
        streams = {"stdin": str(stdin), "stdout": str(stdout), "stderr": str(stderr)}
        self.pid = fork_server().ask({"argv": argv, "env": dict(env), "cwd": str(cwd)} | streams)

    def poll(self):
        if self.returncode is None:
            self.returncode = fork_server().ask(self.pid)
        return self.returncode

    def wait(self, timeout=None):
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked program", timeout)
            self._sleep(None if deadline is None else max(0, deadline - time.monotonic()))
        return self.returncode

    def _sleep(self, longest_s):
        """Sleep until the program has ended; where the system cannot say so, for a moment."""
        if not hasattr(os, "pidfd_open"):
            return time.sleep(0.005)
        handle = os.pidfd_open(self.pid)  # a zombie until the server has reaped it, which only poll() asks for
        try:
            return select.select([handle], [], [], longest_s)
        finally:
            os.close(handle)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def finish(self, deadline):
        """Return its exit status; kill it, with its children, at the deadline and return None."""
        try:
            return self.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            return None


@cache
def fork_server():
    server = ForkServer()
    atexit.register(server.close)
    return server


class ForkServer:
    """Process that forks programs on request, and reaps them. They die with it."""

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

    def ask(self, request):
        """Start the program of a request and return its pid; of a pid, return the exit status, None while it runs."""
        with self._lock:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve():
    """Answer each request; return the program to run in a child, None at the end of the input."""
    for name in LIBRARIES:
        import_module(name)
    fresh = {"rowcache_tasks.celery": "reads the environment", "rowcache_tasks.worker": "shares memory with its forks"}
    assert not fresh.keys() & sys.modules.keys(), fresh
    inspect.getsource(serve)  # compiles the patterns that the guards of overrides need
    gc.collect()
    gc.freeze()  # else the first collection of each child copies the pages of all objects
    own_pid = os.getpid()
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            ended, status = os.waitpid(request, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif (answer := os.fork()) == 0:
            return become(own_pid, **request)
        print(json.dumps(answer), flush=True)
    return None


def become(parent, argv, env, cwd, stdin, stdout, stderr):
    """Take the environment, the folder and the streams of a program; return a function that runs it."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    for number, path in enumerate((stdout, stderr), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    sys.stdin = open(0)  # noqa: SIM115 the old one has read ahead
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.modules.pop("sitecustomize", None)  # Debian has one; the program may have another
    own = {str(ROOT / "tests"), *sys.path[:1]}
    added = [path for path in env.get("PYTHONPATH", "").split(":") if path]
    sys.path[:] = [cwd, *added, *(path for path in sys.path if path not in own)]
    if argv[1].endswith(".py"):
        sys.argv = argv[1:]
        return lambda: run_to_end(runpy.run_path, argv[1])
    _, option, program, *arguments = argv
    sys.argv = [option, *arguments]
    if option == "-m":
        return lambda: run_to_end(partial(runpy.run_module, alter_sys=True), program)
    return lambda: run_to_end(run_code, program)


def run_code(program, run_name):
    exec(compile(program, "<string>", "exec"), {"__name__": run_name})


def run_to_end(run, name):
    """Run a module, a file or code as Python does; end without freeing all objects, which copies the pages of each."""
    try:
        run(name, run_name="__main__")
    except SystemExit as end:
        status = end.code
    else:
        status = 0
    if not isinstance(status, int | None):
        sys.exit(status)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__" and (run := serve()):
    run()
