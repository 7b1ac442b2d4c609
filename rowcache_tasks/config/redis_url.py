"""Validation of the URL of a Redis server.

redis-py ignores a database that is not a number. With an option that is unknown or not allowed, it fails when it
connects, or never.
"""

import re
from urllib.parse import parse_qs, urlsplit

from rowcache_tasks.config.parse import parse_url, refusal
from rowcache_tasks.text import redact

__all__ = ["is_redis_url", "parse_redis_url"]

SCHEMES = ("redis", "rediss", "unix")
WHOLE = re.compile(r"[0-9]{1,9}")
SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?")
NUMBERS = {
    "db": WHOLE,
    "health_check_interval": SECONDS,
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
    is_known = all(is_option(parts.scheme, name, value) for name, values in options.items() for value in values)
    return is_server and parts.scheme in SCHEMES and "://" in url and is_known


def is_option(scheme: str, name: str, value: str) -> bool:
    """Whether an option is known and, where a number is needed, is a number."""
    if name in NUMBERS:
        return NUMBERS[name].fullmatch(value) is not None
    return name in TEXTS or (name in TLS and scheme == "rediss")
