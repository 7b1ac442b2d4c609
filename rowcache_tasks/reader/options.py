"""Options of a reader and of a read, validated; no I/O."""

from dataclasses import dataclass, field, replace
from typing import TypedDict

import redis.asyncio

from rowcache_tasks.config import parse
from rowcache_tasks.config.redis_url import parse_servers_url
from rowcache_tasks.config.settings import Table, load_settings
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import BOOK_TABLE
from rowcache_tasks.schedule.arguments import Delay, parse_delay, parse_seconds
from rowcache_tasks.schedule.connection import check_timeout

MAX_CONCURRENCY = 10
MAX_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadThrough:
    """How RowCache and AsyncRowCache read the database for rows that are not cached. Times are seconds.

    Raises ArgumentError for a value out of its range.
    """

    database_url: str | None = field(default=None, repr=False)
    """An SQLAlchemy URL; None: rowcache_database_url of the configuration."""
    timeout: float = 2.0
    """A database that does not answer for so long counts as down. A reader that dies while it loads a row delays the
    others by one and a half times this, once."""
    concurrency: int = 4
    """Statements that one process runs at a time, for all readers of that database with the same options; up to 10."""
    ttl: float = 60.0
    """How long a row that is not scheduled stays cached after it was filled."""
    missing_ttl: float = 5.0
    """How long the absence of a row in the database is cached."""
    when_redis_is_down: bool = False
    """Whether rows, to be filled or not, come from the database while Redis cannot be read. `age` and `exists` raise
    CacheError in any case."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low in (("timeout", 0.01), ("ttl", 0.01), ("missing_ttl", 0.001)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= MAX_SECONDS:
                raise ArgumentError(
                    f"ReadThrough {name} is {shorten(value)}: allowed is a number of seconds from {low:g} to 86400"
                )
        number = self.concurrency
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_CONCURRENCY:
            raise ArgumentError(
                f"ReadThrough concurrency is {shorten(number)}: allowed is a whole number from 1 to {MAX_CONCURRENCY}"
            )


class Options(TypedDict, total=False):
    """The options that RowCache and AsyncRowCache have in common, for type checkers."""

    url: str | None
    namespace: str | None
    partitions: int
    growing_from: int
    timeout: float
    near: int
    read_through: ReadThrough | None
    app: object


class SyncOptions(Options, total=False):
    """Those of RowCache."""

    client: "redis.Redis | None"


class AsyncOptions(Options, total=False):
    """Those of AsyncRowCache."""

    client: "redis.asyncio.Redis | None"


class ReadOptions(TypedDict, total=False):
    """The options of a read, for type checkers."""

    max_age: Delay | None
    fill: bool
    delay: Delay | None


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The table of a reader, and its servers."""

    table: Table
    url: str = field(repr=False)  # of Redis; not used with a client of the application
    read_through: ReadThrough  # with the URL of the database, if there is one
    timeout_s: float
    near: int


def find_settings(  # noqa: PLR0913 the options of RowCache
    name: str,
    client: object,
    client_type: type,
    *,
    url: str | None = None,
    namespace: str | None = None,
    partitions: int = 1,
    growing_from: int = 0,
    timeout: float = 1.0,
    near: int = 0,
    read_through: ReadThrough | None = None,
    app: object = None,
) -> ReaderSettings:
    """Take the table from the settings, of `app` if it is given, or, with a URL or a namespace, from those alone.

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have, a client of the
    wrong kind, or options that contradict each other.
    """
    check_client(client, url, client_type)
    options, timeout_s = ReadThrough() if read_through is None else read_through, check_timeout(timeout)
    if not isinstance(options, ReadThrough):
        raise ArgumentError(f"read_through is {shorten(options)}: allowed is a ReadThrough, as ReadThrough(timeout=2)")
    if namespace is not None and url is None and client is None:
        raise ArgumentError(
            f"namespace is {shorten(namespace)}, and no server is given: give url or client as well, or neither"
        )
    if options.when_redis_is_down and options.database_url is None and (url or namespace is not None):
        raise ArgumentError(
            "ReadThrough when_redis_is_down is set, and no database is known: give database_url as well"
        )
    if app is not None and (url is not None or namespace is not None):
        raise ArgumentError("app is given, and url or namespace as well: an application has its own, leave them out")
    if url is None and namespace is None:
        if (partitions, growing_from) != (1, 0):
            raise ArgumentError("partitions is given, and neither url nor namespace: it is that of the settings")
        settings = load_settings(app)
        table = settings.table(name)
        options = replace(options, database_url=options.database_url or settings.url_of(table))
        return ReaderSettings(table, settings.redis_url, options, timeout_s, near)
    name = parse.parse_name("url is given", "table", name)
    if namespace is None:
        default = "" if name == BOOK_TABLE else name
        namespace = parse.parse_namespace(
            "the name of the table, which is its namespace as no namespace= is given,", default
        )
    count = parse.parse_partitions("partitions", partitions)
    if growing_from not in (0,):
        parse.check_growth("RowCache", count, parse.parse_partitions("growing_from", growing_from))
    table = Table(
        name,
        parse.parse_text("table", name),
        parse.parse_namespace("namespace", namespace),
        partitions=count,
        growing_from=growing_from,
    )
    if options.database_url is not None:
        parse.parse_url("ReadThrough database_url", options.database_url)
    url = parse_servers_url("rowcache_redis_url", url or "redis://localhost")
    return ReaderSettings(table, url, options, timeout_s, near)


def check_client(client: object, url: str | None, kind: type) -> None:
    """Refuse a client of the wrong kind, or one beside a URL. Raises ArgumentError."""
    if client is not None and url is not None:
        raise ArgumentError("url and client are given: a client has its own server, leave the url out")
    if client is not None and not isinstance(client, kind):
        raise ArgumentError(
            f"client is a {type(client).__module__}.{type(client).__name__}: RowCache takes a redis.Redis, "
            "AsyncRowCache a redis.asyncio.Redis"
        )


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The options of one read. Times are seconds."""

    max_age: float | None = None
    is_filled: bool = False
    delay: float | None = None  # the delay with which a filled row is scheduled; None: it is not scheduled


AS_CACHED = ReadRequest()
FILLED = ReadRequest(is_filled=True)
DATABASE_ALONE = ReadRequest(max_age=-1.0)  # the request of readers that may not use Redis


def anew(request: ReadRequest) -> ReadRequest:
    """Return a request for rows that are read from the database, whatever is cached."""
    return replace(request, max_age=-1.0)


def parse_request(max_age: object, delay: object, *, fill: bool) -> ReadRequest:
    """Check the options of a read. Raises ArgumentError."""
    if max_age is None and delay is None:
        return FILLED if fill else AS_CACHED
    max_age_s = None if max_age is None else parse_seconds("max_age", max_age)
    if max_age_s is not None and max_age_s < 0:
        raise ArgumentError(f"max_age is {shorten(max_age)}: it must be 0 or more seconds, or None")
    if delay is not None and not fill:
        raise ArgumentError("delay is given without fill=True: it is the delay of a row that had to be filled")
    return ReadRequest(max_age_s, fill, None if delay is None else parse_delay(delay))
