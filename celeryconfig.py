"""Settings of a deployment, read from the environment. Copy and edit this file for settings without a variable.

Other settings of Celery may be added. Those that the package needs are its defaults: rowcache_tasks/celery/defaults.py.

Loaded from the current directory, or as the module that CELERY_CONFIG_MODULE names. An empty variable counts as unset.
A wrong value is passed on unchanged: the package stops with one line that names the setting, the value found and the
values allowed.

    ROWCACHE_REDIS_URL       the cache: redis://[user:password@]host:port/db, rediss://… (TLS), unix:///path?db=0
                             or redis+sentinel://[user:password@]host:port,host:port/master/db
    ROWCACHE_DATABASE_URL    an SQLAlchemy URL; only workers need it
    ROWCACHE_TABLES          JSON, in the form of rowcache_tables below
    ROWCACHE_BATCH_SIZE      rows in one task
    ROWCACHE_LEASE           seconds after which a claimed row that was not committed is due again
    ROWCACHE_POLL_INTERVAL   seconds within which a schedule written by a foreign client is noticed
    ROWCACHE_MAX_QUEUE       tasks waiting in the queue above which dispatchers stop claiming
    ROWCACHE_MAX_BACKOFF     longest pause, in seconds, between two tries of a row that fails
    ROWCACHE_START_TIMEOUT   seconds to wait at start for Redis and the database
    ROWCACHE_DEPLOYMENT      name of this deployment, where several share a Redis database or a broker
    ROWCACHE_ALIVE_FILE      file that a worker or dispatcher touches every few seconds while it works
    CELERY_BROKER_URL        the message broker; default: the same server as the cache
    CELERY_TASK_SEND_SENT_EVENT   off: Flower shows a task only when a worker has received it; sending is faster
"""

import json
import os
from typing import Any


def _number(name: str, parse: type[int] | type[float]) -> float | str | None:
    """Read a number. Unset: None, for the default of the package. Not a number: the text."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return parse(text)
    except ValueError:
        return text


def _json(name: str, default: Any) -> Any:
    """Read a JSON value. Unset: the default. Not JSON: the text."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# The cached tables and their servers. None: the default of the package.
rowcache_redis_url = os.environ.get("ROWCACHE_REDIS_URL") or "redis://localhost:6379/0"
rowcache_database_url = os.environ.get("ROWCACHE_DATABASE_URL") or None
rowcache_tables = _json("ROWCACHE_TABLES", {"inv": {"table": "inventory"}})
rowcache_batch_size = _number("ROWCACHE_BATCH_SIZE", int)
rowcache_lease = _number("ROWCACHE_LEASE", float)
rowcache_poll_interval = _number("ROWCACHE_POLL_INTERVAL", float)
rowcache_max_queue = _number("ROWCACHE_MAX_QUEUE", int)
rowcache_max_backoff = _number("ROWCACHE_MAX_BACKOFF", float)
rowcache_start_timeout = _number("ROWCACHE_START_TIMEOUT", float)
rowcache_deployment = os.environ.get("ROWCACHE_DEPLOYMENT") or None
rowcache_alive_file = os.environ.get("ROWCACHE_ALIVE_FILE") or None

# The broker is CELERY_BROKER_URL, which Celery reads, or the server of the cache. Its loss loses no row.
# One more event for each message sent: Flower shows tasks that wait for a worker. Halves the rate of sending.
task_send_sent_event = os.environ.get("CELERY_TASK_SEND_SENT_EVENT", "on").lower() not in {"0", "false", "no", "off"}
