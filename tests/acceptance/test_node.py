"""examples/node, run by a real Node.js against a real deployment."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.deployment import with_login
from support.project import ROOT

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import tags_of
from rowcache_tasks.schedule.row_id import join_row_id

EXAMPLE = ROOT / "examples" / "node"
PAGE = ROOT / "docs" / "other-languages.md"
OLDEST = 20
"""The version of Node.js that package.json asks for."""

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def node():
    """The path of Node.js."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on the PATH")
    version = subprocess.run(
        [found, "--version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout.strip()
    if not (match := re.match(r"v(\d+)\.", version)) or int(match[1]) < OLDEST:
        pytest.skip(f"{found} is {version or 'broken'}, the example needs v{OLDEST} or later")
    return found


@pytest.fixture(scope="module")
def example(node, request, tmp_path_factory):
    """A copy of the example with its packages, which are installed once and kept in pytest's cache."""
    cache = getattr(request.config, "cache", None)  # pytest may be run without it
    parent = cache.mkdir("node") if cache else tmp_path_factory.mktemp("npm")
    lock = (EXAMPLE / "package-lock.json").read_bytes()
    kept = parent / hashlib.sha256(lock).hexdigest()[:16]
    if not kept.exists():
        install(kept)
    folder = tmp_path_factory.mktemp("node")
    for path in EXAMPLE.glob("*.mjs"):
        shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(kept / "node_modules")
    return folder


def install(target):
    """Install into a directory beside and rename it, so that a run that is broken off leaves nothing half done."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on the PATH to install the package redis with")
    folder = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(EXAMPLE / name, folder)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        command = [npm, "ci", *quiet, "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not install the package redis within 120 s")
        if done.returncode:
            reason = " · ".join(re.findall(r"npm error (\S.*)", done.stderr)) or done.stderr
            pytest.skip(f"npm cannot install the package redis: {reason[:200]}")
        try:
            folder.rename(target)
        except OSError:
            assert target.exists(), "another run has installed it meanwhile"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rights():
    """The ACL rules that the page has for such a program."""
    [rules] = re.findall(r"ACL SETUSER shop on >secret (.*)", PAGE.read_text("utf-8"))
    return rules.split()


def test_node_schedules_reads_refreshes_and_drops_a_row(deployment, node, example):
    deployment.start_beat()
    deployment.start_worker()
    deployment.client.execute_command("ACL", "SETUSER", "shop", "on", ">p@ss", "resetkeys", "-@all", *rights())
    command = [node, "read_row.mjs", "42"]
    env = os.environ | {"ROWCACHE_REDIS_URL": with_login(deployment.valkey.url, "shop", "p@ss")}
    done = subprocess.run(command, cwd=example, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    cached, age, *rest = done.stdout.splitlines()
    row = {"id": 42, "name": "item 42", "stock": 0}
    assert json.loads(cached.removeprefix("cached ")) == row
    word, seconds, value = age.split(" ", 2)
    assert (word, json.loads(value)) == ("age", row)
    assert 0 <= float(seconds) < 60
    assert rest == ["fresh", "dropped"]
    assert deployment.client.zscore("delay:", "42") is None
    assert deployment.client.exists("inv:42") == 0


def test_row_ids_of_several_columns_are_those_of_the_package(node, example):
    program = (
        'import { joinRowId } from "./rowcache.mjs";'
        'console.log(JSON.stringify([joinRowId("a,b%"), joinRowId(7, "a,b%"), joinRowId("", "%2C", "ż")]))'
    )
    command = [node, "--input-type=module", "--eval", program]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, timeout=60, check=True)
    ids = [join_row_id(parts) for parts in (["a,b%"], ["7", "a,b%"], ["", "%2C", "ż"])]
    assert json.loads(done.stdout) == ids == ["a,b%", "7,a%2Cb%25", ",%252C,ż"]


def test_keys_of_a_table_with_partitions_are_those_of_the_package(node, example):
    rows = ["42", "7,a%2Cb", "ż", "", "long " * 50]
    layout = json.dumps({"partitions": 32, "hash": "crc32", "tags": tags_of(32)})
    program = (
        'import { keysOf } from "./rowcache.mjs";'
        "const [layout, ...rows] = JSON.parse(process.argv[1]);"
        'console.log(JSON.stringify(rows.flatMap((row) => ["", "users"].map((name) => keysOf(row, layout, name)))))'
    )
    command = [node, "--input-type=module", "--eval", program, json.dumps([layout, *rows])]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, timeout=60, check=True)
    tables = [Table("inv", "inventory", partitions=32), Table("users", "users", "users", partitions=32)]
    for found, (row_id, table) in zip(
        json.loads(done.stdout), [(row_id, table) for row_id in rows for table in tables], strict=True
    ):
        keys = table.part_of(row_id).keys
        assert found == {
            "value": keys.value(row_id).decode(),
            "schedule": keys.schedule,
            "delay": keys.delay,
            "refreshed": keys.refreshed,
        }
