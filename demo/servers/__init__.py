"""Valkey and PostgreSQL servers from wheels, for the demo and the tests.

On Linux, the kernel kills every process started here when this process dies, also of SIGKILL; only temporary
directories are left. Grandchildren have to notice by themselves, as those of PostgreSQL and of a Celery worker do.
macOS has no such signal: there `with`, stop() and the exit of the interpreter clean up. So turn SIGTERM into an exit:
`signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))`. On Linux this also removes the directories.
"""

from demo.servers.child import Child, DemoError
from demo.servers.postgres import Postgres
from demo.servers.server import Server
from demo.servers.valkey import Valkey

__all__ = ["Child", "DemoError", "Postgres", "Server", "Valkey"]
