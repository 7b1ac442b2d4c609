"""The command init: files of a project of one's own. tests/acceptance/test_readme.py runs them."""

import os
import runpy
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from ruamel.yaml import YAML
from support.environment import make_environment, run_in

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.ops.cli import rowcache

WRITTEN = {"celeryconfig.py", "compose.yaml", ".env"}


@pytest.fixture
def init(tmp_path, monkeypatch):
    """Run init in this process, in an empty directory; `app` stands for that of celery -A."""
    for name in [name for name in os.environ if name.startswith(("ROWCACHE_", "CELERY_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments, app=None, status=0):
        done = CliRunner().invoke(rowcache, ["init", *arguments], obj=SimpleNamespace(app=app))
        assert done.exit_code == status, done.output
        assert status == 0 or len(done.stderr.splitlines()) == 1
        return done.stderr if status else done.stdout

    return run


def settings_of(folder):
    return parse_settings(runpy.run_path(str(folder / "celeryconfig.py")))


def test_tables_with_a_key_become_settings_and_the_others_comments(init, db, tmp_path):
    db.run(
        "CREATE TABLE item (id integer PRIMARY KEY, name text)",
        "CREATE TABLE stock (shop integer, item integer, PRIMARY KEY (shop, item))",
        "CREATE TABLE log (line text)",
        "CREATE VIEW items AS SELECT * FROM item",
        'CREATE TABLE "with space" (id integer PRIMARY KEY)',
        'CREATE TABLE "x"";y\n" (id integer PRIMARY KEY)',
    )
    shown = init("made/for/it", "--database", db.url)
    folder = tmp_path / "project" / "made" / "for" / "it"
    assert shown.startswith("celeryconfig.py: item (key id), stock (key shop, item)\n")
    assert {path.name for path in folder.iterdir()} == WRITTEN
    settings = settings_of(folder)
    assert list(settings.tables) == ["item", "stock"]
    assert settings.redis_url == "redis://localhost:6379/0"
    assert '    # "log": {"table": "log"},  # \'log\' has no primary key' in (folder / "celeryconfig.py").read_text()


def test_tables_after_the_first_twenty_are_comments(init, sqlite, tmp_path):
    sqlite.run(*(f"CREATE TABLE t{n:02} (id integer PRIMARY KEY)" for n in range(23)))
    init("--database", sqlite.url)
    assert len(settings_of(tmp_path / "project").tables) == 20
    assert '    # "t22": {"table": "t22"},  # key: id' in (tmp_path / "project" / "celeryconfig.py").read_text()


def test_passwords_are_only_in_a_file_that_nobody_else_can_read(init, pg, tmp_path):
    pg.run("CREATE TABLE item (id integer PRIMARY KEY)")
    url = pg.url.replace("postgres@", "postgres:p%24w%23@")
    init("--database", url, "--redis", "redis://:cache%25@h/3")
    folder = tmp_path / "project"
    settings = settings_of(folder)
    assert settings.redis_url == "redis://:cache%25@h/3"
    assert settings.database_url == url
    assert not [name for name in WRITTEN - {".env"} if "p%24w" in (folder / name).read_text()]
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600


def test_environment_is_looked_at_before_the_file(init, sqlite, tmp_path, monkeypatch):
    sqlite.run("CREATE TABLE item (id integer PRIMARY KEY)")
    monkeypatch.setenv("ROWCACHE_DATABASE_URL", sqlite.url)
    monkeypatch.setenv("ROWCACHE_REDIS_URL", "redis://found/1")
    assert "item (key id)" in init()
    monkeypatch.setenv("ROWCACHE_REDIS_URL", "redis://other/2")
    assert settings_of(tmp_path / "project").redis_url == "redis://other/2"
    monkeypatch.setenv("ROWCACHE_REDIS_URL", "")
    assert settings_of(tmp_path / "project").redis_url == "redis://found/1"


def test_compose_file_has_the_form_of_compose(init, sqlite, tmp_path):
    sqlite.run("CREATE TABLE item (id integer PRIMARY KEY)")
    init("--database", sqlite.url)
    path = tmp_path / "project" / "compose.yaml"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    services = YAML(typ="safe").load(path)["services"]
    assert services["worker"]["volumes"] == [f"{tmp_path}:{tmp_path}"], "the folder of the SQLite file"
    text, values = path.read_text(), (tmp_path / "project" / ".env").read_text()
    asked = {word.partition(":")[0] for word in text.split("${")[1:]} - {"COMPOSE_PROJECT_NAME}-rowcache\n  restart"}
    assert {name for name in asked if f"\n{name}='" not in values} == set()


@pytest.mark.parametrize("there", [*sorted(WRITTEN), "docker-compose.yml"])
def test_file_that_is_there_stays_and_none_is_written(init, tmp_path, there):
    path = tmp_path / "project" / there
    path.write_text("mine")
    line = init(status=2)
    assert line == f"rowcache_tasks: {there} in . is there already: nothing is written, name another DIR\n"
    assert [(found.name, found.read_text()) for found in path.parent.iterdir()] == [(there, "mine")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--database", "sqlite:///nowhere.db"], "--database sqlite:///nowhere.db cannot be read: unable to open"),
        (["--database", "nosuch://u:secret@h/db"], "is not a URL that SQLAlchemy can open"),
        (["--database", "postgresql://u:secret@127.0.0.1:1/db"], "--database postgresql://***@127.0.0.1:1/db cannot"),
        (["--redis", "redis://:it's@h/0"], "holds a quotation mark"),
        (["--redis", "nosuch://h"], "--redis is 'nosuch://h'"),
    ],
)
def test_wrong_address_is_one_line_and_nothing_is_written(init, tmp_path, arguments, words):
    line = init(*arguments, status=1)
    assert words in line
    assert "secret" not in line
    assert list((tmp_path / "project").iterdir()) == []


def test_application_of_the_user_has_its_settings_elsewhere(init, tmp_path):
    assert "set rowcache_* there" in init(app=Celery("shop", set_as_current=False), status=1)


def test_init_needs_no_configuration(init, tmp_path):
    environment = make_environment(tmp_path / "site", "rowcache-tasks[worker]")  # this one has that of the repository
    project = tmp_path / "project"
    command = ("-m", "celery", "-A", "rowcache_tasks", "rowcache")
    done = run_in(environment, *command, "status", cwd=project)
    assert done.stderr.startswith("rowcache_tasks: configuration module 'celeryconfig' was not found in ")
    done = run_in(environment, *command, "init", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in project.iterdir()} == WRITTEN
    done = run_in(environment, *command, "status", cwd=project)
    assert done.stderr.startswith("rowcache_tasks: rowcache_tables is {}: allowed is a dictionary like")
