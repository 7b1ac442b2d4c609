"""README.md and docs/tutorial.md, run as they stand: a Valkey from a wheel, a table in SQLite, the files of init."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.documented import COMMAND, blocks_of, read_blocks
from support.free_port import free_port
from support.waiting import wait_until

from demo.servers import Child

pytestmark = pytest.mark.acceptance

FILE = re.compile(r"# ([\w.]+)\n")
AGAIN = re.compile(r".*rowcache (?:schedule|get|health|errors)|python read\.py|pytest")
"""Commands that are repeated until they print the output of the page: a server may be starting, a worker at work."""
VARIES = re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|min|times?)\b")


@pytest.fixture
def shell(tmp_path):
    """Run a command in an empty directory with an environment of its own; one that ends with & until the test ends."""
    folder, started = tmp_path / "project", []
    folder.mkdir()
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("ROWCACHE_", "CELERY_", "PYTEST_"))
    }
    env |= {
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "PIP_NO_INDEX": "1",  # all is installed: pip looks and says so
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTEST_ADDOPTS": "-p no:valkey -p no:cacheprovider",
        "PYTHONUNBUFFERED": "1",
    }

    def run(command):
        if not command.endswith(" &"):
            return subprocess.run(
                ["bash", "-c", command],
                env=env,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        log = tmp_path / f"{len(started)}.log"
        child = Child(["bash", "-c", f"exec {command.removesuffix(' &')}"], env=env, log=log, cwd=folder)
        child.start()
        started.append(child)
        return log

    run.env, run.folder = env, folder
    yield run
    for child in reversed(started):
        child.stop()


@pytest.fixture
def port(shell):
    """A port for Valkey: another Redis may have that of the page."""
    port = str(free_port())
    shell.env["ROWCACHE_REDIS_URL"] = f"redis://localhost:{port}/0"
    return port


def run_command(shell, command, printed):
    """Run a command of a page; what it prints is as the page says, but for times."""

    if command.endswith(" &"):
        log = shell(command)
        wait_until(lambda: printed in log.read_text(), f"{command} has printed its lines")
        return
    outputs = []

    def is_as_printed():
        done = shell(command)
        outputs.append(done.stdout)
        return VARIES.sub("…", done.stdout).endswith(VARIES.sub("…", printed))

    try:
        wait_until(is_as_printed, "it is printed", timeout_s=90 if AGAIN.match(command) else 0)
    except AssertionError:
        assert outputs[-1] == printed, command
        raise


def run_page(shell, port, page):
    """Write the files of a page and run its commands, in its order."""
    for block in read_blocks(page):
        if block.mark == "run" and (file := FILE.match(block.text)):
            (shell.folder / file[1]).write_text(block.text)
        elif block.mark == "run":
            for command, printed in COMMAND.findall(block.text):
                run_command(shell, command.replace("--port 6379", f"--port {port}"), printed)


def test_commands_of_the_readme_print_what_it_says(shell, port):
    run_page(shell, port, "README.md")
    program = blocks_of("python", "README.md")[0]
    done = shell(f"python - <<'END'\n{program}print(RowCache('inv').get(1))\nEND")
    assert done.stdout == "{'id': 1, 'stock': 3}\n"


def test_tutorial_prints_what_it_says(shell, port):
    run_page(shell, port, "docs/tutorial.md")
