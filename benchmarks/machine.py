"""Machine, versions, commit and other load of a run."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.progress import say
from benchmarks.servers import ROOT, Servers, allocator_of

PACKAGES = ("celery", "kombu", "redis", "hiredis", "SQLAlchemy", "psycopg", "msgspec", "huey", "django-redis")
MEASURED = ("rowcache_tasks", "benchmarks", "celeryconfig.py", "tests/support/deployment.py", "pyproject.toml")
"""Files that change figures when they change."""

BUSY_PERCENT = 10.0
"""Load of other programs above which a warning is shown; % of all cores."""


def describe(servers: Servers, busy_percent: float) -> dict[str, Any]:
    """Describe the machine, the versions and the moment, for results.json."""
    commit, is_dirty = checkout()
    memory = round(psutil.virtual_memory().total / 2**30)
    system = f"{platform.system()} {platform.release()}"
    packages = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "is_dirty": is_dirty,
        "rows": servers.rows,
        "busy_percent": busy_percent,
        "machine": f"{os.cpu_count()} cores of {processor()}, {memory} GiB of memory, {system}",
        "versions": ", ".join([*versions(servers), *packages]),
    }


def check_idleness() -> float:
    """Measure for a second what other programs use, and warn when it is much; % of all cores."""
    busy = psutil.cpu_percent(interval=1.0)
    if busy > BUSY_PERCENT:
        say(f"WARNING: other programs use {busy:.0f} % of the cores: the figures will be rough")
    return busy


def processor() -> str:
    """Name the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return [*models, platform.processor(), platform.machine()][0]


def versions(servers: Servers) -> list[str]:
    """Read the versions of the servers, and the allocator of Valkey."""
    found = servers.client.info("server")
    cache = f"Valkey {found['valkey_version']}" if "valkey_version" in found else f"Redis {found['redis_version']}"
    with servers.connect() as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return [f"{cache} with {allocator_of(servers.valkey)}", f"PostgreSQL {row[0] if row else '?'}"]


def checkout() -> tuple[str | None, bool]:
    """Return the commit, and whether something that is measured differs from it; None where there is no git."""
    commit = git("rev-parse", "--short=10", "HEAD")
    return commit, bool(commit and git("status", "--porcelain", "--", *MEASURED))


def git(*arguments: str) -> str | None:
    """Run git in the checkout; None when that fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
