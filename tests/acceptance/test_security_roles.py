"""Each process has a login of its own in Redis, which allows what it needs and nothing else."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import redis
from celery.app.defaults import SETTING_KEYS
from ruamel.yaml import YAML
from support.deployment import with_login
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.waiting import wait_until

from demo.servers import Child
from demo.servers.valkey import valkey_server
from rowcache_tasks import RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

pytestmark = pytest.mark.acceptance

FOR_ADMINISTRATORS = (
    "FLUSHALL | FLUSHDB | KEYS * | SCAN 0 | CONFIG GET requirepass | CONFIG SET maxmemory 1 | CONFIG REWRITE | "
    "MONITOR | DEBUG SLEEP 0 | SHUTDOWN | ACL LIST | ACL SETUSER x | SCRIPT FLUSH | SCRIPT KILL | FUNCTION FLUSH | "
    "SAVE | SYNC | REPLICAOF NO ONE | CLIENT KILL TYPE normal | SWAPDB 0 1 | MOVE inv:1 2 | MODULE LIST | "
    "RENAME schedule: other | GET other | SET other 1 | DEL other | PUBLISH other x | SUBSCRIBE other | PSUBSCRIBE *"
)
REFUSED = {
    "reader": [
        "EVAL x 0",
        "SET inv:1 x",
        "DEL inv:1",
        "ZSCORE schedule: 1",
        "LPUSH rowcache.schedule x",
        "LLEN rowcache.schedule",
    ],
    "application": [
        "EVAL x 0",
        "SET inv:1 x",
        "DEL inv:1",
        "ZADD schedule: 0 1",
        "ZADD delay: 0 1",
        "BRPOP rowcache.schedule 1",
    ],
    "filler": ["BRPOP rowcache.schedule 1", "LLEN other", "HSET beat: entry 0", "ZRANGE schedule: 0 -1", "CLIENT LIST"],
    "dispatcher": ["GET inv:1", "SET inv:1 x", "MSET inv:1 x", "BRPOP rowcache.refresh 1", "BRPOP celery 1"],
    "worker": ["HSET beat: entry 0", "CLIENT LIST"],
    "operator": [
        "SET inv:1 x",
        "LRANGE rowcache.schedule 0 -1",
        "MSET inv:1 x",
        "BRPOP rowcache.schedule 1",
        "HSET beat: entry 0",
    ],
}


OF_ANOTHER_KOMBU = (
    "ZPOPMIN unacked_index | ZRANGESTORE unacked unacked_index 0 -1 | SET unacked_mutex x | GETEX unacked_mutex | "
    "HRANDFIELD unacked | SADD _kombu.binding.x y | SSCAN _kombu.binding.x 0 | RPOPLPUSH unacked unacked | "
    "XADD _kombu.x * a b | EXPIRE reply.celery.pidbox 1 | TTL reply.celery.pidbox | COPY unacked unacked_index | "
    "LPOS unacked x | WATCH unacked | CLIENT ID | LPUSHX rowcache.refresh x"
)
"""Commands on keys of the broker that some release may use."""


def allowed(deployment, user, commands):
    """Return the commands that the user may run, out of those that he must not."""
    replies = {command: deployment.client.acl_dryrun(user, *command.split()) for command in commands}
    return [command for command, reply in replies.items() if reply == b"OK"]


@pytest.mark.parametrize("user", REFUSED)
def test_role_may_do_neither_the_administrators_work_nor_that_of_another_role(deployment, user):
    assert allowed(deployment, user, FOR_ADMINISTRATORS.split(" | ")) == []
    assert allowed(deployment, user, REFUSED[user]) == []
    assert len(allowed(deployment, "default", FOR_ADMINISTRATORS.split(" | "))) > 25, (
        "the check can see what is allowed"
    )


@pytest.mark.parametrize("user", ["dispatcher", "worker", "operator"])
def test_role_may_use_the_keys_of_the_broker_with_other_commands_than_this_kombu(deployment, user):
    commands = OF_ANOTHER_KOMBU.split(" | ")
    assert allowed(deployment, user, commands) == commands


@pytest.mark.parametrize("role", ["filler", "dispatcher", "worker", "operator"])
def test_script_has_no_more_rights_than_its_role(deployment, role):
    client = connect(deployment.env_of(role)["ROWCACHE_REDIS_URL"], "test")
    with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
        client.eval("return redis.call('FLUSHALL')", 0)
    client.close()
    deployment.client.acl_log_reset()


def test_each_process_is_logged_in_as_its_role(deployment):
    deployment.start_beat()
    deployment.start_worker()
    deployment.start("flower", "flower", "--port=0")
    wanted = {"dispatcher", "worker", "operator", "default"}  # the last one is this test

    def users():
        return {client["user"] for client in deployment.client.client_list()}

    wait_until(lambda: users() == wanted, "all have logged in", pause_s=0.1)
    who = deployment.run(
        "from rowcache_tasks.celery.process import current_runtime;"
        "current_runtime().client.execute_command('ACL WHOAMI')",
        check=False,
    )
    assert "User application has no permissions to run the 'acl|whoami' command" in who.stderr
    deployment.client.acl_log_reset()


def test_reader_reads_values_and_their_age(deployment):
    deployment.schedule.put_rows({"1": (3600, 0)})
    claim, _ = deployment.schedule.claim_rows(10, 30)
    deployment.schedule.commit_rows(claim, {"1": b'{"id":1}'})
    cache = RowCache("inv", url=with_login(deployment.valkey.url, "reader", deployment.passwords["reader"]))
    assert cache.get("1") == {"id": 1}
    assert cache.get_many(["1", "2"]) == {"1": {"id": 1}, "2": None}
    assert cache.age("1") < 60
    assert cache.get_with_age("1", max_age=60).row == {"id": 1}
    assert cache.exists("1")
    cache.close()


def test_reader_has_a_near_cache(deployment):
    url = with_login(deployment.valkey.url, "reader", deployment.passwords["reader"])
    deployment.client.set("inv:1", '{"id":1}')
    cache = RowCache("inv", url=url, near=10)
    wait_until(lambda: cache.get("1") == {"id": 1} and cache.near_statistics().hits, "the row is kept")
    deployment.client.set("inv:1", '{"id":2}')
    wait_until(lambda: cache.get("1") == {"id": 2}, "the server has told that it changed")
    cache.close()


def test_filler_fills_schedules_and_touches(deployment):
    url = with_login(deployment.valkey.url, "filler", deployment.passwords["filler"])
    code = (
        "from rowcache_tasks import RowCache\n"
        "inv = RowCache('inv')\n"
        "print(inv.get('1', fill=True)['id'], inv.get('2', fill=True, delay=3600)['id'], inv.get('4711', fill=True))\n"
    )
    assert deployment.run(code, role="filler") == "1 2 None"
    assert deployment.client.zrange("delay:", 0, -1) == [b"2"]
    client = connect(url, "test")
    assert Schedule(client, Table("inv", "inventory")).touch_rows(["1", "2"]) == 1
    assert deployment.client.exists("inv:1") == 0, "what was filled in was removed"
    client.close()


def test_operator_may_run_every_command(deployment):
    deployment.start_beat()
    deployment.start_worker()

    def rowcache(*arguments):
        return run_forked(
            [*CELERY, "rowcache", *arguments],
            env=deployment.env_of("operator"),
        )

    assert rowcache("schedule", "inv", "5", "1", "2", "4711").returncode == 0
    wait_until(lambda: deployment.stat("missing"), "the third row was looked for")
    for command in (
        ("status",),
        ("status", "--json"),
        ("get", "inv", "1", "--age"),
        ("errors", "--release"),
        ("rows", "inv", "--oldest"),
        ("audit", "inv", "--sample", "1"),
        ("explain", "inv", "1"),
        ("refresh", "inv", "1"),
        ("unschedule", "inv", "2"),
        ("health",),
        ("plan", "--from-redis"),
    ):
        done = rowcache(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert deployment.refusals() == []
    doctor = rowcache("doctor")
    assert "\nfail " not in doctor.stdout, doctor.stdout
    assert "dispatchers: 1 alive" in doctor.stdout
    assert deployment.refusals() == ["operator: command config|get (toplevel)"], "which it can do without"
    deployment.client.acl_log_reset()


def test_inspect_finds_worker_and_dispatcher_as_any_of_them(deployment):
    deployment.start_beat()
    deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    wait_until(lambda: "dispatching" in deployment.log("beat"), "the dispatcher is ready")
    # A dispatcher answers from Celery 5.7 on.
    answers = 2 if "beat_enable_remote_control" in SETTING_KEYS else 1
    for role in ("worker", "dispatcher", "operator"):

        def ping(role=role):
            done = run_forked(
                [*CELERY, "inspect", "ping", "--timeout=5", "--json"],
                env=deployment.env_of(role),
            )
            return done.stdout.count("pong") == answers

        wait_until(ping, f"{answers} answer the {role}")


def test_database_role_can_only_read(deployment):
    (database_url,) = {deployment.env["ROWCACHE_DATABASE_URL"]}
    assert "://rowcache_reader:" in database_url
    code = (
        "import os, sqlalchemy as s\n"
        "with s.create_engine(os.environ['ROWCACHE_DATABASE_URL']).connect() as connection:\n"
        "    connection.execute(s.text('SET TRANSACTION READ WRITE'))\n"
        "    connection.execute(s.text('UPDATE inventory SET stock = 1'))\n"
    )
    assert "permission denied for table inventory" in deployment.run(code, check=False).stderr


@pytest.fixture
def compose_valkey(tmp_path, socket_folder):
    """The command of the service valkey, run as it stands but for its paths; gives what connects to it."""
    service = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]["valkey"]
    *shell, command = service["command"]
    command = command.replace("$$", "$").replace("/tmp/", f"{tmp_path}/").replace("/etc/valkey/", f"{ROOT}/deploy/")
    command += f" --port 0 --unixsocket {socket_folder}/valkey.sock --dir {tmp_path}"
    names = [name for name in service["environment"] if name.endswith("_PASSWORD")]
    env = {name: f"secret of {name}" for name in names} | {"VALKEY_MAXMEMORY": "10mb", "VALKEY_NAMESPACES": "inv users"}
    env["PATH"] = f"{Path(valkey_server()).parent}:{os.environ['PATH']}"
    with Child([*shell, command], env=env, log=tmp_path / "valkey.log"):
        url = f"unix://{socket_folder}/valkey.sock"
        yield lambda user, password: connect(with_login(url, user, password) if password else url, "test")


@pytest.fixture
def socket_folder():
    with tempfile.TemporaryDirectory(prefix="rowcache-") as folder:  # short enough for a socket
        yield folder


def test_command_of_the_compose_file_starts_a_server_with_the_users(compose_valkey):
    def answer(user, password, *command):
        client = compose_valkey(user, password)
        try:
            return client.execute_command(*command)
        except redis.RedisError as error:
            return str(error)
        finally:
            client.close()

    wait_until(
        lambda: "authenticat" in answer("", "", "PING").lower(), "it refuses who gives no password", pause_s=0.05
    )
    assert "invalid username-password" in answer("worker", "secret of VALKEY_READER_PASSWORD", "PING")
    assert "invalid username-password" in answer("default", "secret of VALKEY_WORKER_PASSWORD", "PING")
    worker = ("worker", "secret of VALKEY_WORKER_PASSWORD")
    assert answer(*worker, "MSET", "inv:1", "{}") == answer(*worker, "MSET", "users:1", "{}") is True
    assert "No permissions" in answer(*worker, "MSET", "orders:1", "{}")
    administrator = ("", "secret of VALKEY_PASSWORD")  # as before there were users
    assert answer(*administrator, "CONFIG GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert answer(*administrator, "CONFIG GET", "appendonly") == {"appendonly": "yes"}


def test_missing_password_of_a_role_stops_the_server_with_one_line():
    env = {"PATH": os.environ["PATH"], "VALKEY_PASSWORD": "x"}
    command = ["sh", str(ROOT / "deploy" / "users.sh")]
    done = subprocess.run(command, env=env, capture_output=True, check=False, text=True)
    assert done.returncode != 0
    assert "VALKEY_READER_PASSWORD" in done.stderr
