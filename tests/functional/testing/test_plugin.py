"""The fixture `rowcache` in the tests of a small project of a user."""

import sys
from pathlib import Path

import pytest
import redis
from support.tested_shop import APPLICATION, CONFTEST, INSTALLATION, SETTINGS, TESTS

from rowcache_tasks.testing import url_of
from rowcache_tasks.testing.server import choose_server, is_same_database

pytest_plugins = ["pytester"]

OPTIONS = ("-p", "no:valkey", "-W", "error", "-q")
PASSED = TESTS.count("def test_")
DATABASE = 12
REDIS = "ROWCACHE_TEST_REDIS"


@pytest.fixture(autouse=True)
def project(pytester, monkeypatch):
    """Folder of a project without tests."""
    for name in ("PYTEST_XDIST_WORKER", "CELERY_CONFIG_MODULE", "ROWCACHE_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "celeryconfig", raising=False)
    pytester.makepyfile(celeryconfig=SETTINGS)
    pytester.makeini("[pytest]\npythonpath = .\nrowcache_test_redis = embedded\n")
    return pytester


@pytest.fixture
def shop(project):
    """The same with the tests of an application."""
    project.makepyfile(shop=APPLICATION, test_shop=TESTS)
    project.makeconftest(CONFTEST)
    return project


@pytest.fixture
def databases(valkey):
    """Clients of two empty databases, one after the other."""
    clients = [redis.Redis.from_url(valkey.url_for(DATABASE + n)) for n in (0, 1)]
    yield clients
    for client in clients:
        client.flushdb()
        client.close()


@pytest.fixture
def database_url(valkey, databases, monkeypatch):
    """URL of the first one, which the environment names instead of the ini file."""
    monkeypatch.setenv(REDIS, valkey.url_for(DATABASE))
    return valkey.url_for(DATABASE)


def test_cache_works_on_the_embedded_server_which_ends_with_the_session(shop):
    shop.makepyfile(test_url="from pathlib import Path\ndef test_url(rowcache): Path('url').write_text(rowcache.url)")
    done = shop.runpytest_subprocess(*OPTIONS)
    assert done.parseoutcomes() == {"passed": PASSED + 1}
    scheme, _, address = (shop.path / "url").read_text().partition("://")
    assert scheme == "unix"
    assert not Path(address.partition("?")[0]).exists()


@pytest.mark.usefixtures("database_url")
def test_cache_works_in_a_database_of_the_user_with_xdist_and_leaves_it_empty(shop, databases):
    shop.makepyfile(shop=INSTALLATION + APPLICATION)
    done = shop.runpytest_subprocess(*OPTIONS, "-n", "1")
    assert done.parseoutcomes() == {"passed": PASSED}
    assert databases[0].keys() == []


@pytest.mark.usefixtures("database_url")
def test_tests_of_a_table_with_partitions_leave_the_database_empty(project, databases):
    project.makepyfile(celeryconfig=SETTINGS + "\nrowcache_tables['inv']['partitions'] = 4\n")
    project.makepyfile(
        "from rowcache_tasks.tasks import schedule_row\ndef test_row(rowcache): schedule_row.delay('inv', 1, 10)"
    )
    assert project.runpytest_subprocess(*OPTIONS).parseoutcomes() == {"passed": 1}
    assert databases[0].keys() == []


def test_worker_of_xdist_has_a_database_of_its_own(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw2")
    server = choose_server("redis://localhost/4?protocol=3&db=9")
    assert url_of(server) == "redis://localhost/4?protocol=3&db=11"


def refusal_of(project, *options):
    """Run a session that must not begin; return the end of its only line."""
    done = project.runpytest_inprocess(*OPTIONS, *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, done.errlines)
    return line.partition("': ")[2]


@pytest.mark.usefixtures("database_url")
def test_database_with_a_key_is_refused_and_left_alone(project, databases):
    databases[1].set("inv:1", "{}")
    assert refusal_of(project, "-n", "2").startswith("the database holds 1 key: name an empty one")
    assert [client.keys() for client in databases] == [[], [b"inv:1"]]


def test_database_of_the_application_is_refused(project, database_url):
    project.makepyfile(celeryconfig=SETTINGS.replace("redis://production.invalid/0", database_url))
    assert refusal_of(project) == "this is rowcache_redis_url of the application: name another database"


def test_database_of_the_application_is_found_under_another_name_of_its_host():
    assert is_same_database("redis://localhost/3", "redis://:secret@127.0.0.1:6379?db=3")
    assert not is_same_database("redis://localhost/3", "redis://127.0.0.1:6379/4")
    assert not is_same_database("redis://localhost/3", "redis://elsewhere.invalid/3")


def test_session_that_is_not_told_a_server_says_so(project):
    project.makeini("[pytest]\n")
    project.makepyfile("def test_row(rowcache): pass")
    done = project.runpytest_inprocess(*OPTIONS)
    assert done.parseoutcomes() == {"errors": 1}
    done.stdout.fnmatch_lines(['rowcache: rowcache_test_redis is not set: add rowcache_test_redis = "embedded" to *'])
