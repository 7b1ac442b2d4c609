"""Every setting of a deployment, read from the environment; copy this file and edit it for what is not read there.

Loaded from the current directory, or as the module named by CELERY_CONFIG_MODULE. An empty variable counts as unset.
A wrong value is passed on as it is: the package stops with one line that names the setting, what was found and what
is allowed.

    ROWCACHE_REDIS_URL       the cache: redis://[user:password@]host:port/db, rediss://… (TLS) or unix:///path?db=0
    ROWCACHE_DATABASE_URL    an SQLAlchemy URL; only workers need it
    ROWCACHE_TABLES          JSON, in the form of rowcache_tables below
    ROWCACHE_BATCH_SIZE      rows in one task
    ROWCACHE_LEASE           seconds after which a claimed row that was not refreshed is due again
    ROWCACHE_POLL_INTERVAL   seconds within which a schedule written by a foreign client is noticed
    ROWCACHE_MAX_QUEUE       tasks waiting in the queue above which dispatchers stop claiming
    ROWCACHE_MAX_BACKOFF     longest pause, in seconds, between two tries of a row that fails
    ROWCACHE_START_TIMEOUT   seconds to wait at start for Redis and the database
    CELERY_BROKER_URL        the message broker; default: the same server as the cache
    CELERY_TASK_SEND_SENT_EVENT   off: Flower does not show tasks before a worker has them; sending is faster
"""

import json
import os
import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit


def _number(name: str, parse: type[int] | type[float]) -> float | str | None:
    """Read a number; None when unset, so that the package's default holds, and the text when it is not a number."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return parse(text)
    except ValueError:
        return text


def _json(name: str, default: Any) -> Any:
    """Read a JSON value; the default when unset, and the text when it is not JSON."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _broker_url(cache_url: str) -> str:
    """Translate the URL of the cache, in redis-py's form, into the form of Celery's Redis transport.

    They differ in unix sockets (redis+socket://), and options of redis-py stop kombu: only credentials, the
    database number and ssl_* go over.
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


# What is cached, and from where. None: the package's default.
rowcache_redis_url = os.environ.get("ROWCACHE_REDIS_URL") or "redis://localhost:6379/0"
rowcache_database_url = os.environ.get("ROWCACHE_DATABASE_URL") or None
rowcache_tables = _json("ROWCACHE_TABLES", {"inv": {"table": "inventory"}})
rowcache_batch_size = _number("ROWCACHE_BATCH_SIZE", int)
rowcache_lease = _number("ROWCACHE_LEASE", float)
rowcache_poll_interval = _number("ROWCACHE_POLL_INTERVAL", float)
rowcache_max_queue = _number("ROWCACHE_MAX_QUEUE", int)
rowcache_max_backoff = _number("ROWCACHE_MAX_BACKOFF", float)
rowcache_start_timeout = _number("ROWCACHE_START_TIMEOUT", float)

# The broker. Losing it with everything in it loses no row, so it needs no persistence of its own.
broker_url = os.environ.get("CELERY_BROKER_URL") or _broker_url(rowcache_redis_url)
_transport = broker_url.partition("://")[0]

broker_connection_retry_on_startup = True
# Retry for ever: a worker that gives up after 100 tries must be noticed and restarted by somebody.
broker_connection_max_retries = None
# The same for a broker that answers with an error: full, read-only after a failover. Workers would end without it.
broker_channel_error_retry = True
# Connections for sending, opened on demand: the dispatcher needs one. Flower holds 8 while it inspects the workers, and
# each waits for a second one to send: below 10 it hangs for ever.
broker_pool_limit = 16
# A thread that finds none free gets an error after so many seconds, instead of waiting for ever.
broker_pool_acquire_timeout = 10.0

# max_retries here is for senders only: without it, delay() in a web request blocks for as long as the broker is down.
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
        # A schedule change whose worker was killed is delivered again after this. Longer than any of them runs, or it
        # is delivered twice (harmless, but wasted). A batch to refresh waits for the lease of its rows instead.
        "visibility_timeout": 600,
        # A server that vanished without closing its connections (failover, firewall) must not block a send for long;
        # a worker may wait twice, for two acknowledgements. Well above the one second for which it blocks in BRPOP.
        "socket_timeout": 3,
        "socket_connect_timeout": 5,
        # What waits for messages without a time-out, as for `inspect ping`, is cut off by the kernel when the network
        # has been gone for 25 seconds; the default would be two hours.
        "socket_keepalive": True,
        "socket_keepalive_options": _keepalive,
        # Workers test the connections on which they wait this often, and drop one that does not answer: a worker that
        # is connected and consumes nothing has ended after twice as long.
        "health_check_interval": 3,
        # Do not set retry_on_timeout: it turns kombu's batch publishing off.
    }

# Without this kombu does not verify the certificate of rediss://, nor the host name of amqps://. The ssl_* options of
# a rediss:// URL (ssl_ca_certs=/path for a private authority) replace it.
if _transport == "rediss":
    broker_use_ssl: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
elif _transport == "amqps":
    broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # None: the host of the URL

# Messages. JSON only: a broker that somebody else can write to must not be able to run code here.
accept_content = ["json"]
task_serializer = "json"
# The result of a refresh is the row in Redis. A result backend would add a write for each task and keys that pile up;
# Flower shows results from the event stream.
result_backend = None
task_ignore_result = True

# The dispatcher: any number of them, each started with an empty --pidfile=.
beat_scheduler = "rowcache_tasks.beat:DispatchScheduler"
# Answers `inspect ping -d celerybeat@<host>`, and stops answering when the dispatcher hangs: its health check.
beat_enable_remote_control = True

# Events are what Flower lives on: a few for each batch, not for each row.
worker_send_task_events = True
# One more event for each message sent: shows tasks that wait for a worker, at about half the rate of sending.
task_send_sent_event = os.environ.get("CELERY_TASK_SEND_SENT_EVENT", "on").lower() not in {"0", "false", "no", "off"}

# Workers. One message in reserve for each process: what waits in the queue is counted, and any worker can take it.
worker_prefetch_multiplier = 1
# SIGTERM lets running tasks end, and gives back at once what was only fetched. SIGQUIT gives running tasks so many
# seconds; unfinished schedule changes then go back to their queue, and claimed rows are due when their lease ends.
worker_soft_shutdown_timeout = 10.0
# A refresh that lost its broker connection still commits to Redis: better than killing it half-way.
worker_cancel_long_running_tasks_on_connection_loss = False
# Drivers and JSON buffers fragment memory: replace a process at 400 MB, or after some hours of full load.
worker_max_memory_per_child = 400_000  # KiB
worker_max_tasks_per_child = 100_000
# The default of 4 seconds kills new processes over and over on a machine that is busy.
worker_proc_alive_timeout = 30.0
