"""URL of a Redis server, of the Sentinels of a failover pair, or of several servers.

redis-py ignores a database that is not a number. With an option that is unknown or not allowed, it fails when it
connects, or never.
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from rowcache_tasks.config.parse import parse_url, refusal
from rowcache_tasks.errors.text import redact

ANY = re.compile(r".*", re.DOTALL)
WHOLE = re.compile(r"[0-9]{1,9}")
SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?")
FORMS = {
    "credential_provider": re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*"),
    "db": WHOLE,
    "health_check_interval": WHOLE,
    "max_connections": WHOLE,
    "protocol": re.compile("[23]"),
    "socket_connect_timeout": SECONDS,
    "socket_read_size": WHOLE,
    "socket_timeout": SECONDS,
    "timeout": SECONDS,
}
CLUSTER = re.compile(r"(rediss?)\+cluster://(.*@)?([^/?#@]+)/?0?(\?.*)?")
"""A cluster has one database."""
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
SENTINEL_PORT = 26379
SERVER = "redis://host:port/db, rediss://…, unix:///path?db=0 or redis+sentinel://host:port,host:port/master/db"
TEXTS = ("client_name", "password", "retry_on_timeout", "socket_keepalive", "username")
TLS = (
    *("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname"),
    *("ssl_ciphers", "ssl_keyfile", "ssl_password"),
)


def parse_redis_url(setting: str, value: object) -> str:
    """Accept the URL of one server. Raises ConfigError, without the password."""
    url = parse_url(setting, value)
    if not is_redis_url(url):
        raise refusal(setting, redact(url), f"{SERVER} (one server or a failover pair; not a Redis Cluster)")
    return url


def parse_servers_url(setting: str, value: object) -> str:
    """Accept the URL of a server, a cluster, or several servers (list, or text with spaces); return one text."""
    if isinstance(value, list | tuple) and all(isinstance(url, str) for url in value):
        value = " ".join(value)
    urls = parse_url(setting, value).split()
    for url in urls:
        try:
            nodes = split_cluster(url)
        except ValueError:
            nodes = [""]
        if nodes is None and not is_redis_url(url):
            raise refusal(setting, redact(url), f"{SERVER}, several of these, or redis+cluster://host:port,host:port")
        if nodes is not None and (len(urls) > 1 or not all(map(is_redis_url, nodes))):
            raise refusal(setting, redact(url), "redis+cluster://[user:password@]host:port,host:port/, without others")
    if len(set(urls)) < len(urls):
        raise refusal(setting, redact(urls[-1]), "a list of different servers")
    return " ".join(urls)


def split_cluster(url: str) -> list[str] | None:
    """Return the URL of each node in redis+cluster:// or rediss+cluster://; None: it is another. Raises ValueError."""
    if not url.startswith(("redis+cluster://", "rediss+cluster://")):
        return None
    if (found := CLUSTER.fullmatch(url)) is None:
        raise ValueError("a host is missing, or there is a database")
    scheme, login, hosts, query = found.groups(default="")
    return [f"{scheme}://{login}{host}/{query}" for host in hosts.split(",")]


def split_servers(url: str) -> tuple[list[str], bool]:
    """Return the URL of each server, and whether they are nodes of a cluster."""
    nodes = split_cluster(url)
    return nodes or url.split(), bool(nodes)


class Sentinels(NamedTuple):
    """Parts of redis+sentinel://[user:password@]host:port,host:port/master/db, or rediss+sentinel:// for TLS."""

    nodes: list[tuple[str, int]]  # host and port of each Sentinel
    master: str  # name of the pair in Sentinel
    server: str
    """redis:// or rediss:// URL with the login, the database and the options of the servers; its host is not used."""
    login: dict[str, str]  # login at the Sentinels, as options of redis-py


def split_sentinels(url: str) -> Sentinels | None:
    """Return the parts of a URL of Sentinels; None: it is that of a server. Raises ValueError."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("redis+sentinel", "rediss+sentinel"):
        return None
    servers = re.split("[/?#]", rest, maxsplit=1)[0]
    parts = urlsplit(f"//{rest[len(servers) :]}")  # Python refuses several hosts with one in brackets
    login, at, hosts = servers.rpartition("@")
    found = [urlsplit(f"//{host}") for host in hosts.split(",")]
    nodes = [(node.hostname or "", node.port or SENTINEL_PORT) for node in found]
    master, _, db = parts.path.removeprefix("/").partition("/")
    if not all(host and not node.path for (host, _), node in zip(nodes, found, strict=True)) or not unquote(master):
        raise ValueError("a host or the name of the master is missing")
    options = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode([(name, value) for name, value in options if name not in SENTINEL_LOGIN])
    server = f"{scheme.partition('+')[0]}://{login}{at}{found[0].netloc}/{db}" + (f"?{query}" if query else "")
    of_sentinel = {name.removeprefix("sentinel_"): value for name, value in options if name in SENTINEL_LOGIN}
    return Sentinels(nodes, unquote(master), server, of_sentinel)


def is_redis_url(url: str) -> bool:
    """Whether redis-py uses all parts of the URL."""
    try:
        if (sentinels := split_sentinels(url)) is not None:
            return is_redis_url(sentinels.server)
        parts = urlsplit(url)
        is_server = parts.scheme == "unix" or (parts.port or 1) > 0
        (parts.hostname or "").encode("idna")
        options = parse_qs(parts.query)
    except ValueError:
        return False
    if parts.scheme != "unix" and parts.path.strip("/"):
        options.setdefault("db", []).append(parts.path.strip("/"))
    if "credential_provider" in options and (parts.username or parts.password or {"username", "password"} & {*options}):
        return False  # redis-py takes one of both
    known = FORMS | dict.fromkeys(TEXTS + (TLS if parts.scheme == "rediss" else ()), ANY)
    are_known = all(name in known and all(map(known[name].fullmatch, values)) for name, values in options.items())
    return is_server and url.startswith(("redis://", "rediss://", "unix://")) and are_known
