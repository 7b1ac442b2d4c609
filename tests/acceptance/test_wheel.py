"""What users install is the wheel, so the wheel is what is tested: in an environment that has nothing else."""

import re
import subprocess
import sys
import zipfile

import pytest
from support.project import ROOT

pytestmark = pytest.mark.acceptance

PROGRAM = """
import asyncio, sys
from importlib.metadata import distributions
import rowcache_tasks
from rowcache_tasks import AsyncRowCache, Refresher, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
assert "site-packages" in rowcache_tasks.__file__, rowcache_tasks.__file__
url = sys.argv[1]
schedule = Schedule(connect(url, "test"), Table("inv", "inventory"))
schedule.put_rows({"42": (5, 0)})
claim, _ = schedule.claim_rows(10, 30)
schedule.commit_rows(claim, {"42": b'{"id":42}'})

async def read():
    return await AsyncRowCache("inv", url=url).get("42")

touched = Refresher(url=url, tables={"inv": {"table": "inventory"}}).refresh_now("inv", ["42"])
print(RowCache("inv", url=url).get("42"), asyncio.run(read()), touched)
print(len({found.name for found in distributions()} - {"pip", "setuptools"}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # Through the sdist, so that nothing is missing there either.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_page_on_pypi_renders_and_has_no_relative_link(wheel):
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, wheel.parent.iterdir())]
    done = subprocess.run(check, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    targets = re.findall(r"\]\(([^)]+)\)", archive.read(name).decode())
    assert len(targets) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_wheel_holds_the_scripts_the_tab_of_flower_and_the_type_marker(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"rowcache.html", "static/rowcache.css", "static/rowcache.js"} <= {
        name.removeprefix("rowcache_tasks/ops/cli/flower/") for name in names
    }
    lua = {path.name for path in (ROOT / "rowcache_tasks").rglob("*.lua")}
    assert lua == {name.rpartition("/")[2] for name in names if name.endswith(".lua")}
    assert "rowcache_tasks/py.typed" in names
    assert all(name.startswith(("rowcache_tasks/", "rowcache_tasks-")) for name in names)


def test_installed_wheel_is_at_most_five_distributions_and_reads_and_refreshes(wheel, valkey, client, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    command = [str(python), "-c", PROGRAM, valkey.url_for(9)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    read, count = done.stdout.splitlines()
    assert read == "{'id': 42} {'id': 42} 1"
    assert int(count) <= 5
