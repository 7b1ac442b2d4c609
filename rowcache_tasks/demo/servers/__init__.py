"""Real Valkey and PostgreSQL servers from wheels, for the demo and the tests: started, and sure to be gone.

Only the demo imports this one, and it knows nothing of caching.

On Linux every process started here is killed by the kernel when this process dies, even of SIGKILL, and only
the temporary directories are left. What such a process started itself has to notice that, as the children of
PostgreSQL and of a Celery worker do. macOS has no such signal: there `with`, stop() and the exit of the
interpreter clean up, so a program that may be stopped by SIGTERM has to turn it into an exit, for example
`signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))`. On Linux the same line removes the directories.
"""

from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.error import EmbeddedError
from rowcache_tasks.demo.servers.postgres import Postgres
from rowcache_tasks.demo.servers.valkey import Valkey

__all__ = ["Child", "EmbeddedError", "Postgres", "Valkey"]
