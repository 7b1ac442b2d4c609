"""Settings of a deployment, read from the environment. Copy and edit this file for settings without a variable.

Loaded from the current directory, or as the module that CELERY_CONFIG_MODULE names. An empty variable counts as unset.
A wrong value is passed on unchanged: the package stops with one line that names the setting, the value found and the
values allowed.

    ROWCACHE_REDIS_URL       the cache: redis://[user:password@]host:port/db, rediss://… (TLS) or unix:///path?db=0
    ROWCACHE_DATABASE_URL    an SQLAlchemy URL; only workers need it
    ROWCACHE_TABLES          JSON, in the form of rowcache_tables below
    ROWCACHE_BATCH_SIZE      rows in one task
    ROWCACHE_LEASE           seconds after which a claimed row that was not committed is due again
    ROWCACHE_POLL_INTERVAL   seconds within which a schedule written by a foreign client is noticed
    ROWCACHE_MAX_QUEUE       tasks waiting in the queue above which dispatchers stop claiming
    ROWCACHE_MAX_BACKOFF     longest pause, in seconds, between two tries of a row that fails
    ROWCACHE_START_TIMEOUT   seconds to wait at start for Redis and the database
    CELERY_BROKER_URL        the message broker; default: the same server as the cache
    CELERY_TASK_SEND_SENT_EVENT   off: Flower shows a task only when a worker has received it; sending is faster
"""

import json
import os
import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit


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


def _broker_url(cache_url: str) -> str:
    """Translate the URL of the cache, in redis-py's form, into the form of Celery's Redis transport.

    They differ in the form of unix sockets (redis+socket://), and kombu fails on options of redis-py. So only the
    credentials, the database number and ssl_* are kept.
    """
    try:
        url = urlsplit(cache_url)
    except ValueError:
        return cache_url
    if url.scheme not in {"redis", "rediss", "unix"}:
        return cache_url
    query = dict(parse_qsl(url.query))
    user = unquote(url.username or "") or query.get("username", "")
    password = unquote(url.password or "") or query.get("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    if url.scheme == "unix":
        return f"redis+socket://{login}{url.path}?virtual_host={query.get('db', '0')}"
    server = url.netloc.rpartition("@")[2]
    database = query.get("db") or url.path.strip("/") or "0"
    tls = urlencode({name: value for name, value in query.items() if name.startswith("ssl_")})
    return f"{url.scheme}://{login}{server}/{database}" + (f"?{tls}" if tls else "")


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

# The broker. Its loss, with everything in it, loses no row, so it needs no persistence.
broker_url = os.environ.get("CELERY_BROKER_URL") or _broker_url(rowcache_redis_url)
_transport = broker_url.partition("://")[0]

broker_connection_retry_on_startup = True
# Retry for ever: a worker that gives up after 100 tries would need a restart by hand.
broker_connection_max_retries = None
# Also retry when the broker answers with an error (full, read-only after a failover). Without it workers would end.
broker_channel_error_retry = True
# Connections for sending, opened on demand. The dispatcher needs one. Flower holds 8 while it inspects the workers, and
# each of them waits for a second one to send: below 10 Flower hangs for ever.
broker_pool_limit = 16
# Seconds after which a thread that finds no free connection gets an error; Celery 5.6 waits for ever.
broker_pool_acquire_timeout = 10.0

# max_retries applies to senders only: without it, delay() in a web request blocks while the broker is down.
broker_transport_options: dict[str, Any] = {
    "max_retries": 3,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
_keepalive = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, times
_keepalive = {getattr(socket, name): value for name, value in _keepalive.items() if hasattr(socket, name)}
if _transport in {"redis", "rediss", "redis+socket", "sentinel"}:
    broker_transport_options |= {
        # Seconds after which a schedule change of a killed worker is delivered again. Longer than any of them runs: a
        # second delivery is harmless, but wasted. Rows of a batch to refresh wait for their lease instead.
        "visibility_timeout": 600,
        # Bounds a send to a server that vanished without closing its connections (failover, firewall). A worker may
        # wait twice, for two acknowledgements. Well above the one second of its BRPOP.
        "socket_timeout": 3,
        "socket_connect_timeout": 5,
        # The kernel closes a connection that waits without a timeout, as for `inspect ping`, when the network has been
        # away for 25 seconds; the default is two hours.
        "socket_keepalive": True,
        "socket_keepalive_options": _keepalive,
        # Seconds between two tests of the connections on which workers wait. A connection without an answer is dropped:
        # a worker that is connected and consumes nothing recovers after twice this time.
        "health_check_interval": 3,
        # Do not set retry_on_timeout: it switches the batch publishing of kombu off.
    }

# Without these options kombu verifies neither the certificate of rediss:// nor the host name of amqps://. The ssl_*
# options of a rediss:// URL (ssl_ca_certs=/path for a private authority) replace them.
if _transport == "rediss":
    broker_use_ssl: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
elif _transport == "amqps":
    broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # None: the host of the URL

# Messages. JSON only: other writers to the broker must not be able to run code here.
accept_content = ["json"]
task_serializer = "json"
# The result of a refresh is the row in Redis. A result backend would add a write for each task, and more and more keys.
# Flower shows results from the event stream.
result_backend = None
task_ignore_result = True

# The dispatcher. Start any number of them, each with an empty --pidfile=.
beat_scheduler = "rowcache_tasks.beat:DispatchScheduler"
# Health check of the dispatcher, from Celery 5.7 on: it answers `inspect ping -d celerybeat@<host>`, unless it hangs.
beat_enable_remote_control = True

# Events for Flower: a few for each batch, not for each row.
worker_send_task_events = True
# One more event for each message sent: Flower shows tasks that wait for a worker. Halves the rate of sending.
task_send_sent_event = os.environ.get("CELERY_TASK_SEND_SENT_EVENT", "on").lower() not in {"0", "false", "no", "off"}

# Workers. One message in reserve for each process; the others stay in the queue, where any worker can take them.
worker_prefetch_multiplier = 1
# Seconds that SIGQUIT leaves to running tasks. Unfinished schedule changes then go back to their queue; claimed rows
# are due when their lease ends. (SIGTERM lets running tasks end, and gives back at once the messages only fetched.)
worker_soft_shutdown_timeout = 10.0
# A refresh that lost its connection to the broker still commits to Redis: do not kill it half-way.
worker_cancel_long_running_tasks_on_connection_loss = False
# Drivers and JSON buffers fragment memory: replace a process at 400 MB, or after some hours of full load.
worker_max_memory_per_child = 400_000  # KiB
worker_max_tasks_per_child = 100_000
# The default of 4 seconds kills new processes again and again on a busy machine.
worker_proc_alive_timeout = 30.0
