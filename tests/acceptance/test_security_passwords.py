"""No password is in a log, an error or a page, in whatever way a process fails."""

import json
import sys
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from support.deployment import with_login
from support.fork_server import run_all_forked
from support.project import CELERY
from support.waiting import wait_until

from demo.servers import Postgres

pytestmark = pytest.mark.acceptance

SECRET = "Zr7/@:#?%&+ Qx9é"
"""Never a right password; each half is looked for by itself, since a message may quote a part of an URL."""
DATABASE_SECRET = "Kd3/@:#?%&+ Vw5é"

PROGRAMS = {
    "worker": [*CELERY, "worker", "--loglevel=DEBUG"],
    "beat": [*CELERY, "beat", "--loglevel=DEBUG", "--pidfile="],
    "doctor": [*CELERY, "rowcache", "doctor"],
    "status": [*CELERY, "rowcache", "status"],
    "health": [*CELERY, "rowcache", "health"],
    "schedule": [*CELERY, "rowcache", "schedule", "inv", "5", "1"],
    "inspect": [*CELERY, "inspect", "ping", "--timeout=1"],
    "report": [*CELERY, "report"],
    "task": [sys.executable, "-c", "from rowcache_tasks.tasks import schedule_row as s; s.delay('inv', '1', 5)"],
    "reader": [sys.executable, "-c", "from rowcache_tasks import RowCache; print(RowCache('inv').get('1'))"],
}
WRONG = {
    "password of the cache": {"ROWCACHE_REDIS_URL": "cache with wrong password"},
    "password of the broker": {"CELERY_BROKER_URL": "broker with wrong password"},
    "host of the cache": {"ROWCACHE_REDIS_URL": f"redis://worker:{quote(SECRET, safe='')}@127.0.0.1:1/0"},
    "host of the broker": {"CELERY_BROKER_URL": f"redis://worker:{quote(SECRET, safe='')}@127.0.0.1:1/0"},
    "unescaped password of the cache": {"ROWCACHE_REDIS_URL": f"redis://worker:{SECRET}@127.0.0.1:1/0"},
    "unescaped password of the broker": {"CELERY_BROKER_URL": f"redis://worker:{SECRET}@127.0.0.1:1/0"},
    "transport of the broker": {"CELERY_BROKER_URL": f"nosuch://worker:{quote(SECRET, safe='')}@127.0.0.1:1/0"},
    "RabbitMQ that is away": {"CELERY_BROKER_URL": f"amqp://worker:{quote(SECRET, safe='')}@127.0.0.1:1//"},
    "password in the query": {"ROWCACHE_REDIS_URL": f"redis://127.0.0.1:1/0?username=u&password={quote_plus(SECRET)}"},
    "host of the database": {
        "ROWCACHE_DATABASE_URL": f"postgresql+psycopg://u:{quote(DATABASE_SECRET, safe='')}@127.0.0.1:1/shop"
    },
    "unescaped password of the database": {
        "ROWCACHE_DATABASE_URL": f"postgresql+psycopg://u:{DATABASE_SECRET}@127.0.0.1:1/shop"
    },
    "driver of the database": {
        "ROWCACHE_DATABASE_URL": f"nosuch+driver://u:{quote(DATABASE_SECRET, safe='')}@127.0.0.1:1/shop"
    },
}


def leaked(text, *secrets):
    """Return the parts of passwords that are in a text."""
    parts = {
        part
        for secret in secrets
        for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret))
        for part in (form, secret[:3], secret[-4:-1])
    }
    return [part for part in parts if part in text]


def run_all(programs, env):
    """Run programs at the same time until they end; return what each has printed."""
    done = run_all_forked(list(programs.values()), env=env)
    endings = ("\n(did not end)" if one.returncode is None else "" for one in done)
    return {name: one.stdout + one.stderr + end for name, one, end in zip(programs, done, endings, strict=True)}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_password_or_address_is_named_without_a_password(deployment, what):
    urls = {
        "cache with wrong password": with_login(deployment.valkey.url, "worker", SECRET),
        "broker with wrong password": with_login(deployment.valkey.broker_url(1), "worker", SECRET),
    }
    env = deployment.env_of("worker") | {"ROWCACHE_START_TIMEOUT": "1"}
    env |= {name: urls.get(value, value) for name, value in WRONG[what].items()}
    if "ROWCACHE_DATABASE_URL" in WRONG[what]:
        programs = {name: PROGRAMS[name] for name in ("worker", "doctor", "report")}
    elif "CELERY_BROKER_URL" in WRONG[what] and "unescaped" not in what:
        programs = {name: PROGRAMS[name] for name in ("worker", "doctor", "task")}
    elif what in ("password of the cache", "unescaped password of the broker"):
        programs = PROGRAMS
    else:
        programs = {name: PROGRAMS[name] for name in ("worker", "doctor", "task", "reader")}
    passwords = [SECRET, DATABASE_SECRET]
    outputs = run_all(programs, env)
    found = {name: leaked(output, *passwords) for name, output in outputs.items()}
    assert {name: (parts, outputs[name]) for name, parts in found.items() if parts} == {}
    assert [name for name, output in outputs.items() if "(did not end)" in output] == []
    assert outputs["worker"].strip(), "it says something"
    deployment.client.acl_log_reset()  # commands of the operator, as the worker


@pytest.fixture
def locked_database(deployment):
    """A database whose role needs a password, with a table to cache; gives its URL for a role and a password."""
    with Postgres() as server:
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
            connection.execute("INSERT INTO inventory VALUES (1, 'item', 1)")
            connection.execute(f"CREATE ROLE asker LOGIN PASSWORD '{DATABASE_SECRET}'")
            connection.execute("GRANT SELECT ON inventory TO asker")
            rules = "local all postgres trust\nlocal all all scram-sha-256\n"
            (server.home / "data" / "pg_hba.conf").write_text(rules)
            connection.execute("SELECT pg_reload_conf()")
        url = server.url.replace("postgres@", "", 1)
        yield server, lambda password: with_login(url, "asker", password)


def test_wrong_password_of_the_database_stops_a_worker_without_showing_it(deployment, locked_database):
    _, url_with = locked_database
    env = deployment.env_of("worker") | {"ROWCACHE_DATABASE_URL": url_with(SECRET), "ROWCACHE_START_TIMEOUT": "1"}
    outputs = run_all({name: PROGRAMS[name] for name in ("worker", "doctor")}, env)
    for output in outputs.values():
        assert "password authentication failed" in output
        assert leaked(output, SECRET, DATABASE_SECRET) == []
    deployment.client.acl_log_reset()


def test_servers_that_die_and_come_back_are_logged_without_a_password(deployment, locked_database):
    database, url_with = locked_database
    right = {"ROWCACHE_DATABASE_URL": url_with(DATABASE_SECRET)}
    deployment.start("beat", "beat", "--loglevel=DEBUG", "--pidfile=")
    deployment.start("worker", "worker", "--loglevel=DEBUG", "--concurrency=2", **right)
    fetch = deployment.start_flower("flower", "--logging=debug")
    deployment.schedule.put_rows({"1": (0.2, 0)})
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    pages = [fetch("/api/workers?refresh=1"), fetch("/workers"), fetch("/broker"), fetch("/tasks"), fetch("/api/tasks")]
    worker = next(name for name in json.loads(pages[0]) if not name.startswith("celerybeat"))
    pages.append(fetch(f"/worker/{worker}"))

    database.kill()
    wait_until(lambda: deployment.stat("failed"), "the database is missed")
    database.start()
    deployment.valkey.kill()
    wait_until(lambda: "dispatch_failed" in deployment.log("beat"), "the dispatcher misses Redis")
    wait_until(lambda: "Connection to broker lost" in deployment.log("worker"), "the worker misses the broker")
    deployment.valkey.start()
    deployment.client.delete("inv:1")
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached again")
    pages.append(fetch("/api/workers?refresh=1"))

    passwords = [DATABASE_SECRET, *deployment.passwords.values()]
    forms = {form for password in passwords for form in (password, quote(password, safe=""), quote(password))}
    for text in (*pages, *map(deployment.log, ("beat", "worker", "flower"))):
        assert len(text) > 10
        assert [form for form in forms if form in text] == []
    assert "rowcache_redis_url" in pages[0], "the settings of the worker are there, without its password"
