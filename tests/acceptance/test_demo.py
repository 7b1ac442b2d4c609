"""What `make demo` runs, from outside: its exit status, what it prints, and that nothing is left of it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from support.project import ROOT
from support.waiting import wait_until

from demo.processes import FLOWER_PORT

pytestmark = pytest.mark.acceptance


class Demo:
    """A demo whose output is no terminal. Its processes are known by a variable or a directory of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = []

    def start(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(self.folder), "DEMO_OF_TEST": str(self.folder), "FORCE_COLOR": "1"},
            start_new_session=True,
        )

    def read_until(self, words):
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"the demo has ended without printing {words!r}:\n{self.output}")

    def finish(self):
        """Read the rest; returns the exit status."""
        self.lines += self.process.stdout
        return self.process.wait(60)

    @property
    def output(self):
        return "".join(self.lines)

    def processes(self):
        return [process for process in psutil.process_iter() if self.owns(process)]

    def owns(self, process):
        try:  # the children of PostgreSQL overwrite their environment, but stay in its directory
            marked = process.environ().get("DEMO_OF_TEST") == str(self.folder)
            return (marked or str(self.folder) in process.cwd()) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def children(self):
        """Return command line -> process, for those that the demo itself started, not such a process."""
        found = {}
        for process in self.processes():
            with suppress(psutil.Error):
                if process.ppid() == self.process.pid:
                    found[" ".join(process.cmdline())] = process
        return found

    def child(self, words):
        return next((process for command, process in self.children().items() if words in command), None)

    def left(self):
        """Name the processes and files that are left."""
        return [str(found) for found in (*self.processes(), *self.folder.rglob("*"))]


@pytest.fixture
def demo():
    # Short, because sockets are made in it; open, because as root PostgreSQL runs as somebody else.
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    folder.chmod(0o755)
    demo = Demo(folder)
    with ExitStack() as stack:
        with suppress(OSError):  # else two demos at once could both take the usual port of Flower for free
            stack.enter_context(socket.create_server(("127.0.0.1", FLOWER_PORT), reuse_port=True))
        yield demo
    demo.process.kill()
    demo.process.wait()
    demo.process.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_demo_compares_every_row_prints_plain_lines_and_leaves_nothing(demo):
    demo.start("--seconds=4", "--rate=300")  # longer than the pause between plain lines
    url = demo.read_until("Flower: ").split("Flower: ")[1].strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    demo.read_until("starting pgbench")
    names = ("pgbench", "valkey-server", "postgres", " beat ", " worker ", " flower ")

    def missing():
        commands = "\n".join(demo.children())
        return [name for name in names if name not in commands]

    wait_until(lambda: not missing(), "all run, for four seconds")
    assert demo.finish() == 0, demo.output
    transactions = int(re.search(r"ended after ([\d,]+) transactions", demo.output)[1].replace(",", ""))
    assert transactions > 100
    assert demo.lines[-1] == "100,000 rows compared, 0 differ\n"
    assert re.search(r"pgbench writes, \d of 4 s: scheduled 100,000 rows, refreshed [\d,]+/s", demo.output)
    assert "\x1b" not in demo.output
    assert demo.left() == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "starting a dispatcher"),
        (signal.SIGHUP, "starting PostgreSQL"),
        pytest.param(signal.SIGINT, "starting pgbench", marks=pytest.mark.long),
    ],
)
def test_signal_leaves_no_process_and_no_directory(demo, number, moment):
    demo.start()
    demo.read_until(moment)
    demo.process.send_signal(number)
    demo.process.send_signal(number)  # an impatient second one does not disturb the first
    assert demo.finish() == 128 + number, demo.output
    assert demo.left() == []
    assert "Traceback" not in demo.output
    assert "\x1b" not in demo.output


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_kill_leaves_no_process(demo):
    demo.start()
    demo.read_until("scheduling all accounts")
    demo.process.kill()
    demo.process.wait()
    wait_until(lambda: not demo.processes(), "all processes are gone")


@pytest.mark.long
def test_process_that_dies_early_ends_the_demo_with_its_name_and_log(demo):
    demo.start()
    demo.read_until("scheduling all accounts")
    demo.child(" worker ").kill()
    assert demo.finish() == 1, demo.output
    assert "demo: worker ended early with status -9; the end of its log:\n" in demo.output
    assert demo.left() == []


@pytest.mark.long
def test_server_that_dies_ends_the_demo_with_the_ends_of_the_logs(demo):
    demo.start()
    demo.read_until("scheduling all accounts")
    demo.child("valkey-server").kill()
    assert demo.finish() == 1, demo.output
    assert re.search("^demo: .*(does not answer|ended early)", demo.output, re.MULTILINE)
    assert "Traceback" not in demo.output.partition("the ends of the logs")[0]
    assert demo.left() == []


def test_wrong_argument_is_refused(demo):
    demo.start("--seconds=0")
    assert demo.finish() == 2
    assert "Invalid value for '--seconds': 0 is not in the range x>=1." in demo.output
