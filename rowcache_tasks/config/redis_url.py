"""Validation of the URL of a Redis server.

redis-py ignores a database that is not a number. With an option that is unknown or not allowed, it fails when it
connects, or never.
"""

import re
from urllib.parse import parse_qs, urlsplit

from rowcache_tasks.config.parse import parse_url, refusal
from rowcache_tasks.text import redact

ANY = re.compile(r".*", re.DOTALL)
WHOLE = re.compile(r"[0-9]{1,9}")
SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?")
NUMBERS = {
    "db": WHOLE,
    "health_check_interval": WHOLE,
    "max_connections": WHOLE,
    "protocol": re.compile("[23]"),
    "socket_connect_timeout": SECONDS,
    "socket_read_size": WHOLE,
    "socket_timeout": SECONDS,
    "timeout": SECONDS,
}
TEXTS = ("client_name", "password", "retry_on_timeout", "socket_keepalive", "username")
TLS = (
    *("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname"),
    *("ssl_ciphers", "ssl_keyfile", "ssl_password"),
)


def parse_redis_url(setting: str, value: object) -> str:
    """Accept the URL of one server. Raises ConfigError, without the password."""
    url = parse_url(setting, value)
    if not is_redis_url(url):
        allowed = "redis://host:port/db, rediss://… or unix:///path?db=0"
        raise refusal(setting, redact(url), f"{allowed} (one server or a failover pair; not a Redis Cluster)")
    return url


def is_redis_url(url: str) -> bool:
    """Whether redis-py uses all parts of the URL."""
    try:
        parts = urlsplit(url)
        is_server = parts.scheme == "unix" or (parts.port or 1) > 0
        (parts.hostname or "").encode("idna")
        options = parse_qs(parts.query)
    except ValueError:
        return False
    if parts.scheme != "unix" and parts.path.strip("/"):
        options.setdefault("db", []).append(parts.path.strip("/"))
    known = NUMBERS | dict.fromkeys(TEXTS + (TLS if parts.scheme == "rediss" else ()), ANY)
    are_known = all(name in known and all(map(known[name].fullmatch, values)) for name, values in options.items())
    return is_server and parts.scheme in ("redis", "rediss", "unix") and "://" in url and are_known
