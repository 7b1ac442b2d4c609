"""Standby of a PostgreSQL server, which applies changes late."""

import shutil
import subprocess
from pathlib import Path

from demo.servers import Postgres


class Standby(Postgres):
    """Copy of a running server that follows it, and applies each commit `delay_s` seconds later."""

    def __init__(self, directory: Path, primary: Postgres, delay_s: float, user: str = "postgres") -> None:
        host = primary.url.rpartition("host=")[2].partition("&")[0].replace("%2F", "/")
        conninfo = f"host={host} port=5432 user={user}"
        settings = {"primary_conninfo": conninfo, "recovery_min_apply_delay": f"{delay_s:g}s"}
        own = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        super().__init__(directory, args=[*primary._args, *own])
        self._primary = primary

    def _create_cluster(self, data: Path) -> None:
        copy = data.parent / "copy"
        copy.mkdir()
        argv = self._primary.tool("pg_basebackup", "-D", str(copy), "--checkpoint=fast", "--no-sync")
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        (copy / "standby.signal").touch()
        for path in [copy, *copy.rglob("*")]:
            if self._user:
                shutil.chown(path, self._user)
        copy.chmod(0o700)
        copy.rename(data)
