"""compose.yaml of `rowcache init`, built and run as it is written, for a table in SQLite."""

import re
import sqlite3
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from support.compose import Compose, missing_engine, status_of
from support.free_port import free_port
from support.project import CELERY, ROOT
from support.waiting import wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


@pytest.fixture
def package(tmp_path):
    """What pip installs in the image: the wheel of this checkout, served to the engine's network."""
    if reason := missing_engine():
        pytest.skip(reason)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "wheel"),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    gateway = subprocess.check_output(
        ["docker", "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"], text=True
    ).strip()
    handler = partial(SimpleHTTPRequestHandler, directory=str(wheel.parent))
    with ThreadingHTTPServer((gateway, 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"rowcache-tasks[worker,flower] @ http://{gateway}:{server.server_port}/{wheel.name}"
        server.shutdown()


def test_project_that_init_wrote_caches_a_row(package, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("CREATE TABLE item (id integer PRIMARY KEY, name text)")
        database.execute("INSERT INTO item VALUES (1, 'chair')")
    database.close()
    for place in (tmp_path, folder):
        place.chmod(0o755)  # tmp_path is of this user only
    port = free_port()
    compose = Compose(folder, "rowcache-init-test")
    written = subprocess.run(
        [*CELERY, "rowcache", "init", "--database", "sqlite:///shop.db"], cwd=folder, capture_output=True, check=True
    )
    assert b"item (key id)" in written.stdout
    env = folder / ".env"
    env.write_text(re.sub("(?m)^ROWCACHE_PACKAGE=.*", f"ROWCACHE_PACKAGE='{package}'", env.read_text()))
    ports = folder / "compose.override.yaml"
    ports.write_text(f"services: {{flower: {{ports: !override ['127.0.0.1:{port}:5555']}}}}\n")
    try:
        compose.shell("docker compose up -d --wait")
        assert "inv" not in compose.shell("docker compose run --rm worker rowcache schedule item 5 1")
        wait_until(lambda: compose.value("item:1") == '{"id":1,"name":"chair"}', "the row is cached")
        assert re.search("^item +1 ", compose.shell("docker compose run --rm worker rowcache status"), re.MULTILINE)
        login = "admin:" + re.search("^FLOWER_PASSWORD='(.*)'$", env.read_text(), re.MULTILINE)[1]
        assert [status_of(port, login) for login in (None, login)] == [401, 200]
        assert compose.are_healthy()
    finally:
        compose.down()
