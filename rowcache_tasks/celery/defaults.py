"""Defaults of Celery's settings, behind those of the user."""

import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis

from rowcache_tasks.config.redis_url import SENTINEL_PORT, split_sentinels

REFRESH_TASK = "rowcache_tasks.tasks.refresh_row"
TASKS = "rowcache_tasks.tasks.*"
REDIS = {"redis", "rediss", "redis+socket", "sentinel"}  # schemes of brokers with the options of Redis
RABBITMQ = {"amqp", "amqps", "pyamqp"}
MAX_BODY_BYTES = 10_000_000
"""Of a message of a task. To decode more takes a second or more, for which no row is refreshed."""

SENDING = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
"""Retries of senders: without max_retries, delay() in a web request blocks while the broker is down."""
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, times
OF_REDIS = {
    # Seconds after which a schedule change of a killed worker is delivered again. Longer than any of them runs: a
    # second delivery is harmless, but wasted. Rows of a batch to refresh wait for their lease instead.
    "visibility_timeout": 600,
    # Bounds a send to a server that vanished without closing its connections (failover, firewall). A worker may wait
    # twice, for two acknowledgements. Well above the one second of its BRPOP.
    "socket_timeout": 3,
    "socket_connect_timeout": 5,
    # The kernel closes a connection that waits without a timeout, as for `inspect ping`, when the network has been
    # away for 25 seconds; the default is two hours.
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
    },
    # Seconds between two tests of the connections on which workers wait. A connection without an answer is dropped:
    # a worker that is connected and consumes nothing recovers after twice this time.
    "health_check_interval": 3,
    # Do not set retry_on_timeout: it switches the batch publishing of kombu off.
}

DEFAULTS: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    # Retry for ever: a worker that gives up after 100 tries would need a restart by hand.
    "broker_connection_max_retries": None,
    # Also retry when the broker answers with an error (full, read-only after a failover). Without it workers would end.
    "broker_channel_error_retry": True,
    # Connections for sending, opened on demand. The dispatcher needs one. Flower holds 8 while it inspects the workers,
    # and each of them waits for a second one to send: below 10 Flower hangs for ever.
    "broker_pool_limit": 16,
    # Seconds after which a thread that finds no free connection gets an error; Celery 5.6 waits for ever.
    "broker_pool_acquire_timeout": 10.0,
    "broker_transport_options": SENDING,
    # JSON only: other writers to the broker must not be able to run code here.
    "accept_content": ["json"],
    "task_serializer": "json",
    # The result of a refresh is the row in Redis. A result backend would add a write for each task, and more and more
    # keys. Flower shows results from the event stream.
    "result_backend": None,
    "task_ignore_result": True,
    # The dispatcher. Start any number of them, each with an empty --pidfile=.
    "beat_scheduler": "rowcache_tasks.beat:DispatchScheduler",
    # Health check of the dispatcher, from Celery 5.7 on: `inspect ping -d celerybeat@<host>`, unless it hangs.
    "beat_enable_remote_control": True,
    # Events for Flower: a few for each batch, not for each row.
    "worker_send_task_events": True,
    # One more event for each message sent: Flower shows tasks that wait for a worker. Halves the rate of sending.
    "task_send_sent_event": True,
    "worker_consumer": "rowcache_tasks.celery.kombu.consumer:WorkerConsumer",
    # One message in reserve for each process; the others stay in the queue, where any worker can take them.
    "worker_prefetch_multiplier": 1,
    # Seconds that SIGQUIT leaves to running tasks. Unfinished schedule changes then go back to their queue; claimed
    # rows are due when their lease ends. (SIGTERM lets running tasks end, and gives back at once the messages only
    # fetched.)
    "worker_soft_shutdown_timeout": 10.0,
    # A refresh that lost its connection to the broker still commits to Redis: do not kill it half-way.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # Drivers and JSON buffers fragment memory: replace a process at 400 MB, or after some hours of full load.
    "worker_max_memory_per_child": 400_000,  # KiB
    "worker_max_tasks_per_child": 100_000,
    # The default of 4 seconds kills new processes again and again on a busy machine.
    "worker_proc_alive_timeout": 30.0,
}

OF_ALL = (
    *("broker_connection_retry_on_startup", "broker_connection_max_retries", "broker_channel_error_retry"),
    *("broker_pool_limit", "broker_pool_acquire_timeout", "beat_enable_remote_control", "worker_consumer"),
    *("worker_soft_shutdown_timeout", "worker_proc_alive_timeout"),
)
"""Defaults for an application of the user as well. The others would change tasks, beat or Flower of its own."""
OF_PACKAGE = ("visibility_timeout", "confirm_publish")
"""Options of the broker that an application of the user does not get."""


def shared_defaults(broker_url: object) -> dict[str, Any]:
    """Return the defaults for an application of the user, with this broker.

    Not the visibility_timeout: a task of the user may run for longer, or have a countdown. Not confirm_publish: each
    task of the user would wait for the broker.
    """
    options = package_defaults(None, broker_url or "amqp://")["broker_transport_options"]
    options = {name: value for name, value in options.items() if name not in OF_PACKAGE}
    return {name: DEFAULTS[name] for name in OF_ALL} | {"broker_transport_options": options}


def package_defaults(redis_url: object, broker_url: object) -> dict[str, Any]:
    """Return the settings of the package for a cache and a broker; `broker_url` None: the server of the cache."""
    defaults = dict(DEFAULTS)
    if isinstance(broker_url, list | tuple):
        broker_url = ";".join(broker_url)  # a list is Celery's other form of several brokers
    if isinstance(redis_url, list | tuple):
        redis_url = " ".join(map(str, redis_url))
    if not broker_url and isinstance(redis_url, str):
        broker_url = defaults["broker_url"] = of_cache(redis_url)
    scheme = str(broker_url).partition("://")[0]
    of_sentinel = sentinel_options(str(redis_url), str(broker_url)) if scheme == "sentinel" else {}
    if scheme in REDIS:
        defaults["broker_transport_options"] = SENDING | OF_REDIS | of_sentinel
    elif scheme in RABBITMQ:
        # A change that delay() has sent is on disk, or on most nodes: without it, it may be lost with a connection.
        defaults["broker_transport_options"] = SENDING | {"confirm_publish": True}
    # Without these options kombu verifies neither the certificate of rediss:// nor the host name of amqps://. The ssl_*
    # options of a rediss:// URL (ssl_ca_certs=/path for a private authority) replace them.
    if scheme == "rediss":
        defaults["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    elif "ssl" in of_sentinel.get("sentinel_kwargs", {}):
        of_tls = {name: value for name, value in of_sentinel["sentinel_kwargs"].items() if name.startswith("ssl_")}
        defaults["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED} | of_tls
    elif scheme == "amqps":
        defaults["broker_use_ssl"] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # the host of the URL
    return defaults


def of_cache(cache_url: str) -> str:
    """Translate the URL of the cache, in redis-py's form, into the form of Celery's Redis transport.

    They differ in the form of unix sockets (redis+socket://), and kombu fails on options of redis-py. So only the
    credentials or their provider, the database number and ssl_* are kept. Of several servers, the first.
    """
    cache_url = next(iter(cache_url.split()), cache_url)
    try:
        sentinels = split_sentinels(cache_url)
        url = urlsplit(sentinels.server if sentinels else cache_url)
    except ValueError:
        return cache_url
    query = dict(parse_qsl(url.query))
    provider = {name: query[name] for name in ("credential_provider",) if name in query}
    if sentinels is not None:
        first = urlsplit(of_cache(sentinels.server))
        login = "".join(first.netloc.rpartition("@")[:2])
        hosts = [(f"[{host}]" if ":" in host else host, port) for host, port in sentinels.nodes]
        database = first.path + (f"?{urlencode(provider)}" if provider else "")
        return ";".join(f"sentinel://{login}{host}:{port}{database}" for host, port in hosts)
    if url.scheme not in {"redis", "rediss", "unix"}:
        return cache_url
    user = unquote(url.username or "") or query.get("username", "")
    password = unquote(url.password or "") or query.get("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    if url.scheme == "unix":
        return f"redis+socket://{login}{url.path}?{urlencode({'virtual_host': query.get('db', '0')} | provider)}"
    server = url.netloc.rpartition("@")[2]
    database = query.get("db") or url.path.strip("/") or "0"
    options = urlencode({name: value for name, value in query.items() if name.startswith("ssl_")} | provider)
    return f"{url.scheme}://{login}{server}/{database}" + (f"?{options}" if options else "")


def sentinel_options(cache_url: str, broker_url: str) -> dict[str, Any]:
    """Return the options of kombu's transport for the Sentinels of a cache; none for others, or an unreadable URL."""
    try:
        sentinels = split_sentinels(cache_url)
        asked = {(url.hostname, url.port or SENTINEL_PORT) for url in map(urlsplit, broker_url.split(";"))}
        if sentinels is None or not asked <= set(sentinels.nodes):
            return {}
        server = redis.connection.parse_url(sentinels.server)  # type: ignore[no-untyped-call]
    except ValueError:
        return {}
    of_tls = {name: value for name, value in server.items() if name.startswith("ssl_")}
    asking = sentinels.login | ({"ssl": True} | of_tls if sentinels.server.startswith("rediss") else {})
    return {"master_name": sentinels.master, "sentinel_kwargs": asking}
