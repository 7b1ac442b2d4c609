"""docker-compose.yml, built and run as docs/deployment.md says, from a clone that was made under umask 077."""

import re
import secrets

import pytest
from support.compose import Compose, copy_checkout, missing_engine, status_of
from support.documented import read_blocks
from support.free_port import free_port
from support.waiting import wait_until

from rowcache_tasks import __version__

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

SERVICES = {"valkey": 1, "postgres": 1, "dispatcher": 2, "worker": 2, "flower": 1}
PORT = free_port()


BLOCKS = [block for block in read_blocks("docs/deployment.md") if block.reason == "tests/containers/test_compose.py"]
UP, START_INTERVAL, CHANGE = [block.text for block in BLOCKS]


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    """The deployment, once the commands of the documentation have run."""
    if reason := missing_engine():
        pytest.skip(reason)
    folder = copy_checkout(tmp_path_factory.mktemp("clone"))
    compose = Compose(folder, "rowcache-test", ROWCACHE_IMAGE="rowcache-test", FLOWER_PORT=str(PORT))
    if tuple(map(int, compose.run("version", "-f", "{{.Server.APIVersion}}").split("."))) >= (1, 44):
        compose.env.update([START_INTERVAL.strip().split("=")])
    yield compose
    compose.down()


def test_commands_of_the_documentation_cache_rows(compose):
    shown = compose.shell(UP.replace("up -d --wait", "up -d --wait --scale worker=2 --quiet-pull"))
    assert "inv: 3 rows due now and every 5 s" in shown
    assert re.search(r"^inv +3 ", shown, re.MULTILINE)
    found = [one["Config"]["Labels"]["com.docker.compose.service"] for one in compose.containers()]
    assert {name: found.count(name) for name in found} == SERVICES
    assert compose.are_healthy()
    wait_until(lambda: '"quantity":1,' in compose.value("inv:1"), "row 1 is cached")
    compose.shell(CHANGE.replace("compose exec", "compose exec -T"))
    wait_until(lambda: '"quantity":0,' in compose.value("inv:1"), "the change has arrived")


def test_flower_wants_the_login(compose):
    login = "admin:" + re.search(r"^FLOWER_PASSWORD=(\w+)$", (compose.folder / ".env").read_text(), re.MULTILINE)[1]
    assert [status_of(PORT, login) for login in (None, "admin:wrong", login)] == [401, 401, 200]


def test_every_container_is_confined(compose):
    for one in compose.containers():
        name, host = one["Name"], one["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert 0 < host["Memory"] <= 2**30, name
        assert 0 < host["PidsLimit"] <= 256, name
        status = compose.run("exec", one["Id"], "cat", "/proc/1/status")
        rights = dict(re.findall(r"^(Cap\w+|NoNewPrivs|Uid):\s+(\w+)", status, re.MULTILINE))
        assert {int(value, 16) for key, value in rights.items() if key.startswith("Cap")} == {0}, name
        assert rights["NoNewPrivs"] == "1", name
        assert rights["Uid"] != "0", name


def test_doctor_finds_nothing_wrong(compose):
    assert "FAIL" not in compose("run", "--rm", "cli", "rowcache", "doctor")


def test_worker_that_was_killed_comes_back(compose):
    for one in compose.containers("worker"):
        # All of its processes but the first one, which ends with them.
        compose.run("exec", one["Id"], "sh", "-c", "kill -9 -1")
    wait_until(lambda: {one["RestartCount"] for one in compose.containers("worker")} == {1}, "they start again")
    wait_until(compose.are_healthy, "they are healthy")
    set_to = "UPDATE inventory SET quantity = 77 WHERE id = 2"
    compose("exec", "-T", "postgres", "psql", "-U", "postgres", "rowcache", "-c", set_to)
    wait_until(lambda: '"quantity":77,' in compose.value("inv:2"), "row 2 is refreshed")


def test_image_has_the_version_and_one_layer_for_the_code(compose):
    label = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    assert compose.run("image", "inspect", "-f", label, "rowcache-test") == __version__
    assert compose.run("run", "--rm", "--read-only", "rowcache-test", "rowcache", "--version").endswith(__version__)

    new = compose.folder / "rowcache_tasks" / "new.py"

    def layers():
        new.write_text(f"# {secrets.token_hex(8)}\n")
        compose("build", "-q", "worker")
        return compose.run("image", "inspect", "-f", '{{join .RootFS.Layers "\\n"}}', "rowcache-test").split()

    *others, code = layers()
    *same, changed = layers()
    assert same == others
    assert changed != code
    installed = f"/opt/rowcache/rowcache_tasks/{new.name}"
    assert compose.run("run", "--rm", "--entrypoint", "cat", "rowcache-test", installed) == new.read_text().strip()


def test_everything_ends_by_itself_within_10_seconds(compose):
    compose("stop")
    assert {one["State"]["ExitCode"] for one in compose.containers()} == {0}, "none was killed"

    def seconds():
        compose("up", "-d", "--wait")
        return compose.down()

    assert any(seconds() < 10 for _ in range(3)), "on a busy machine, one of three"
