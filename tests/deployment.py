"""A deployment of real processes: what `celery -A rowcache_tasks beat | worker | flower` starts, and applications."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from rowcache_tasks.config import Table
from rowcache_tasks.connection import connect
from rowcache_tasks.embedded import Child
from rowcache_tasks.schedule import Schedule

ROOT = Path(__file__).parents[1]
CELERY = [sys.executable, "-m", "celery", "-A", "rowcache_tasks"]


def wait_until(is_true, what, timeout_s=30, pause_s=0.005):
    """Poll until something holds; returns what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_true()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s until {what}"
        time.sleep(pause_s)
    return found


class Deployment:
    """Servers, the environment that names them, and the processes started in it."""

    def __init__(self, valkey, database_url, folder):
        self.valkey = valkey
        self.folder = folder
        self.database_url = database_url
        self.client = connect(valkey.url, "test")
        self.schedule = Schedule(self.client, Table("inv", "inventory"))
        self.children = []
        self.env = os.environ | {
            "ROWCACHE_REDIS_URL": valkey.url,
            "ROWCACHE_DATABASE_URL": database_url,
            "CELERY_BROKER_URL": valkey.broker_url(1),
            "ROWCACHE_LEASE": "5",
            "ROWCACHE_START_TIMEOUT": "20",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, name, *arguments, **env):
        """Start `celery -A rowcache_tasks <arguments>`; its log is <folder>/<name>.log."""
        log = self.folder / f"{name}.log"
        child = Child([*CELERY, *arguments], env=self.env | env, log=log, cwd=ROOT)
        child.start()
        self.children.append(child)
        return child

    def start_beat(self, name="beat", **env):
        return self.start(name, "beat", "--loglevel=info", "--pidfile=", **env)

    def start_worker(self, name="worker", *arguments, **env):
        given = ("worker", "--loglevel=info", "--concurrency=2", f"--hostname={name}@%h", *arguments)
        return self.start(name, *given, **env)

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, code, check=True, **env):
        """Run Python code as an application would; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.env | env,
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip() if check else done

    def sql(self, statement, *arguments):
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else None

    def stat(self, name):
        return int(self.client.hget("stats:", name) or 0)

    def stop(self):
        for child in reversed(self.children):
            child.kill()
        self.client.close()
