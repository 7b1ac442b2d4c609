"""What users install is the wheel, so the wheel is what is tested: in an environment that has nothing else."""

import subprocess
import sys
import zipfile

import pytest
from support.project import ROOT

pytestmark = pytest.mark.acceptance

CLAIM_A_ROW = """
import sys
import rowcache_tasks
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
assert "site-packages" in rowcache_tasks.__file__, rowcache_tasks.__file__
schedule = Schedule(connect(sys.argv[1], "test"), Table("inv", "inventory"))
schedule.put_rows({"42": (5, 0)})
claim, _ = schedule.claim_rows(10, 30)
schedule.commit_rows(claim, {"42": b'{"id":42}'})
print(claim.row_ids, rowcache_tasks.RowCache("inv", url=sys.argv[1]).get("42"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # Through the sdist, so that nothing is missing there either.
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_scripts_and_the_type_marker(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    lua = {path.name for path in (ROOT / "rowcache_tasks").rglob("*.lua")}
    assert lua == {name.rpartition("/")[2] for name in names if name.endswith(".lua")}
    assert "rowcache_tasks/py.typed" in names
    assert all(name.startswith(("rowcache_tasks/", "rowcache_tasks-")) for name in names)


def test_installed_wheel_claims_a_row(wheel, valkey, client, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True)
    command = [str(python), "-c", CLAIM_A_ROW, valkey.url_for(9)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['42'] {'id': 42}"
    scheduler = (
        "from importlib.metadata import entry_points as e; print(e(group='celery.beat_schedulers')['rowcache'].load())"
    )
    done = subprocess.run([str(python), "-c", scheduler], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "DispatchScheduler" in done.stdout
