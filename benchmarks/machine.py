"""Own what a figure depends on beside the code: the machine, the versions, and which commit was measured."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.stage import Stage

ROOT = Path(__file__).parents[1]
PACKAGES = ("celery", "kombu", "redis", "hiredis", "SQLAlchemy", "psycopg", "msgspec")
MEASURED = ("rowcache_tasks", "benchmarks", "celeryconfig.py", "tests/deployment.py", "pyproject.toml")
"""What changes figures when it changes; a page of the documentation does not."""


def describe(stage: Stage) -> dict[str, Any]:
    """Describe the machine, the versions and the moment, for results.json."""
    commit, is_dirty = checkout()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "is_dirty": is_dirty,
        "rows": stage.rows,
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "servers": servers(stage),
        "packages": {name: version(name) for name in PACKAGES},
        "load": round(os.getloadavg()[0], 2),
    }


def processor() -> str:
    """Name the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return [*models, platform.processor(), platform.machine()][0]


def servers(stage: Stage) -> dict[str, str]:
    """Ask the servers for their versions."""
    found = stage.client.info("server")
    cache = f"Valkey {found['valkey_version']}" if "valkey_version" in found else f"Redis {found['redis_version']}"
    with psycopg.connect(stage.conninfo) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return {"cache": cache, "database": f"PostgreSQL {row[0] if row else '?'}"}


def checkout() -> tuple[str | None, bool | None]:
    """Give the commit and whether something that is measured differs from it; None where there is no git."""
    commit, status = git("rev-parse", "--short=10", "HEAD"), git("status", "--porcelain", "--", *MEASURED)
    return (commit, None if status is None else bool(status)) if commit else (None, None)


def git(*arguments: str) -> str | None:
    """Ask git about the checkout; None when it is none or git is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
