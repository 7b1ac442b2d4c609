"""Deployment of real processes: beat, workers, Flower and applications, with the roles of deploy/users.sh."""

import base64
import os
import sys
import urllib.request
from urllib.parse import quote, urlencode

import psycopg
from support.fork_server import run_forked
from support.forked_child import python_child
from support.free_port import free_port
from support.project import CELERY, ROOT
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

ROLES = {"beat": "dispatcher", "worker": "worker", "flower": "operator", "rowcache": "operator"}
"""Program -> its user in deploy/users.sh. A worker with -B does the work of two roles and logs in as neither."""


def with_login(url, user, password):
    """Return the URL with a login; it must have none yet."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


class Deployment:
    """Servers, the environment that names them, and the processes started in it.

    `client`, `schedule`, `sql` and `env` have the rights of an administrator. With `passwords` (user -> password), each
    process logs in to Redis as the user of its role, unless the test names another server in `env` or at the start of
    the process. With `reader_url`, processes read the database through that URL. `child` makes each process.
    """

    def __init__(self, valkey, database_url, folder, *, passwords=None, reader_url=None, child=python_child):
        self.valkey = valkey
        self.folder = folder
        self.database_url = database_url
        self.passwords = passwords or {}
        self.client = connect(valkey.url, "test")
        self.schedule = Schedule(self.client, Table("inv", "inventory"))
        self.children = []
        self._child = child
        self._connection = self._connected_to = None
        self.servers = {"ROWCACHE_REDIS_URL": valkey.url, "CELERY_BROKER_URL": valkey.broker_url(1)}
        self.env = os.environ | {
            **self.servers,
            "ROWCACHE_DATABASE_URL": reader_url or database_url,
            "ROWCACHE_LEASE": "5",
            "PYTHONPATH": str(ROOT),
        }
        self.cwd = ROOT
        self.application = "rowcache_tasks"
        self.worker_options = ("--without-gossip", "--without-mingle")  # as in docker-compose.yml; mingle waits 1 s

    def configure(self, text):
        """Use this celeryconfig.py and no other setting than the addresses of the servers."""
        self.cwd = self.folder / "configured"
        self.cwd.mkdir()
        (self.cwd / "celeryconfig.py").write_text(text)
        del self.env["ROWCACHE_LEASE"]

    def env_of(self, role, **env):
        """Return the environment of a process, with the login of its role in each URL that the test has not changed."""
        given = self.env | env
        if role in self.passwords:
            for variable, url in self.servers.items():
                if given[variable] == url:
                    given[variable] = with_login(url, role, self.passwords[role])
        return given

    def start(self, name, *arguments, **env):
        """Start `celery -A <application> <arguments>`; its log is <folder>/<name>.log."""
        log = self.folder / f"{name}.log"
        role = None if "-B" in arguments else ROLES.get(arguments[0])
        argv = [*CELERY[:-1], self.application, *arguments]
        child = self._child(argv, env=self.env_of(role, **env), log=log, cwd=self.cwd)
        child.start()
        self.children.append(child)
        return child

    def start_beat(self, name="beat", **env):
        return self.start(name, "beat", "--loglevel=info", "--pidfile=", **env)

    def start_worker(self, name="worker", *arguments, **env):
        given = ("worker", "--loglevel=info", "--concurrency=2", f"--hostname={name}@%h", *self.worker_options)
        return self.start(name, *given, *arguments, **env)

    def start_flower(self, name="flower", *arguments, **env):
        """Start Flower behind basic auth and wait for it; return a function that fetches the text of a path.

        With `data`, it sends a POST. Its attribute `url` is the address of Flower; an argument `url` names another one.
        """
        port = free_port()
        self.start(name, "flower", f"--port={port}", *arguments, FLOWER_BASIC_AUTH="operator:pass", **env)
        login = base64.b64encode(b"operator:pass").decode()

        def fetch(path, headers=None, data=None, url=None):
            given = {"Authorization": f"Basic {login}"} if headers is None else headers
            body = None if data is None else urlencode(data).encode()
            request = urllib.request.Request((url or fetch.url) + path, body, headers=given)
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.read().decode()

        def is_up():
            try:
                return fetch("/healthcheck")
            except OSError:
                return None

        fetch.url = f"http://127.0.0.1:{port}"
        wait_until(is_up, "Flower is up")
        return fetch

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, code, check=True, role="application", **env):
        """Run Python code as an application; return its output, or with check=False the finished process."""
        done = run_forked([sys.executable, "-c", code], env=self.env_of(role, **env), cwd=self.cwd)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip() if check else done

    def sql(self, statement, *arguments):
        """Run a statement as the administrator, on one connection as long as that lasts; return the rows."""
        if self._connected_to == self.database_url:
            try:
                return self._execute(statement, arguments)
            except psycopg.OperationalError:
                if not self._connection.broken:
                    raise
        self._disconnect()
        self._connection = psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True)
        self._connected_to = self.database_url
        return self._execute(statement, arguments)

    def _execute(self, statement, arguments):
        cursor = self._connection.execute(statement, arguments or None)
        return cursor.fetchall() if cursor.description else None

    def _disconnect(self):
        if self._connection:
            self._connection.close()
        self._connection = self._connected_to = None

    def stat(self, name):
        return int(self.client.hget("stats:", name) or 0)

    def refusals(self):
        """Return the commands that Redis refused for lack of rights since its start; wrong passwords are left out."""
        return [
            f"{entry['username']}: {entry['reason']} {entry['object']} ({entry['context']})"
            for entry in self.client.acl_log()
            if entry["reason"] != "auth"
        ]

    def leaks(self):
        """Return the names of the logs that hold a password, plain or quoted for a URL."""
        secrets = {form for password in self.passwords.values() for form in (password, quote(password, safe=""))}
        return [
            path.name for path in self.folder.glob("*.log") if any(secret in self.log(path.stem) for secret in secrets)
        ]

    def stop(self):
        for child in reversed(self.children):
            child.kill()
        self._disconnect()
        self.client.close()
