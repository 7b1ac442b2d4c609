"""PgBouncer in transaction mode, started from the program of the machine."""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
from support.waiting import wait_until

from demo.servers import Child

PORT = 6432


def find_pgbouncer():
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer:
    """Pooler on a Unix socket with one pool of `size` sessions, all of the user postgres; `url` leads through it."""

    def __init__(self, database_url, size):
        parts = urlsplit(database_url)
        address, name = parse_qs(parts.query), parts.path[1:]
        self._home = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))  # a socket's path has at most 107 bytes
        self.url = f"postgresql+psycopg://postgres@/{name}?host={quote(str(self._home))}&port={PORT}"
        settings = self._home / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n{name} = host={address['host'][0]} port={address['port'][0]} user=postgres\n"
            f"[pgbouncer]\nlisten_addr=\nunix_socket_dir={self._home}\nlisten_port={PORT}\nauth_type=any\n"
            f"pool_mode=transaction\ndefault_pool_size={size}\n"
        )
        argv = [find_pgbouncer(), str(settings)]
        if os.geteuid() == 0:
            for path in (self._home, settings):
                shutil.chown(path, "nobody")
            argv[1:1] = ["-u", "nobody"]
        self._child = Child(argv, log=self._home / "log")

    def __enter__(self):
        self._child.start()
        wait_until(lambda: self._child.poll() is not None or self._answers(), "PgBouncer answers", timeout_s=20)
        assert self._child.is_running, self._child.log_tail()
        return self

    def __exit__(self, *_):
        self._child.kill()
        shutil.rmtree(self._home)

    def connect(self):
        """Open an application's connection; no prepared statements, autocommit."""
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True, prepare_threshold=None)

    def _answers(self):
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
