"""README.md, run as it stands: a Valkey from a wheel, a table in SQLite, the files that init writes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from support.documented import blocks_of, commands
from support.waiting import wait_until

from rowcache_tasks.demo.servers import Child

pytestmark = pytest.mark.acceptance


@pytest.fixture
def shell(tmp_path):
    """Run a command in an empty directory with an environment of its own; one that ends with & until the test ends."""
    folder, started = tmp_path / "project", []
    folder.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCACHE_", "CELERY_"))}
    env |= {
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "PIP_NO_INDEX": "1",  # all is installed: pip looks and says so
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }

    def run(command):
        if not command.endswith(" &"):
            return subprocess.run(
                ["bash", "-c", command], env=env, cwd=folder, capture_output=True, text=True, check=False
            )
        log = tmp_path / f"{len(started)}.log"
        child = Child(["bash", "-c", f"exec {command.removesuffix(' &')}"], env=env, log=log, cwd=folder)
        child.start()
        started.append(child)
        return log

    run.env = env
    yield run
    for child in reversed(started):
        child.stop()


def test_commands_of_the_readme_print_what_it_says(shell):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    shell.env["ROWCACHE_REDIS_URL"] = f"redis://localhost:{port}/0"  # another Redis may have the port of the README
    for command, printed in commands():
        given = command.replace("--port 6379", f"--port {port}")
        if command.endswith(" &"):
            log = shell(given)
            wait_until(lambda log=log, printed=printed: printed in log.read_text(), f"{command} has printed its lines")
        else:
            if command.endswith(" get inv 1"):
                with redis.Redis.from_url(shell.env["ROWCACHE_REDIS_URL"]) as client:
                    wait_until(lambda client=client: client.exists("inv:1"), "the worker has started", timeout_s=60)
            done = shell(given)
            assert (done.returncode, done.stdout[-len(printed) :] if printed else "") == (0, printed), done.stderr
    program = blocks_of("python")[0]
    done = shell(f"python - <<'END'\n{program}print(RowCache('inv').get(1))\nEND")
    assert (done.stdout, done.stderr) == ("{'id': 1, 'stock': 3}\n", "")
