"""Own who reads: the programs, what they need, and in which of their ways they take turns with which others."""

from dataclasses import dataclass

PACKAGES = ["dogpile.cache==1.5.0", "cashews==7.6.0", "aiocache==0.12.3", "django-redis==7.0.0", "Django==5.2.19"]

PROGRAMS = {
    "plain": ("plain", []),
    "near": ("near", []),
    "awaited": ("awaited", []),
    "awaited near": ("awaited", ["near"]),
    "database": ("database", []),
}
CONTENDERS = {
    "dogpile": ("dogpile_region", []),
    "django": ("django_cache", []),
    "cashews": ("cashews_cache", []),
    "cashews near": ("cashews_cache", ["near"]),
    "aiocache": ("aiocache_cache", []),
}


@dataclass(frozen=True)
class Reader:
    """A line of a table: one way of one program. The first of a table is what the others are compared with."""

    label: str
    program: str
    way: str
    is_ours: bool = False

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Race:
    """What takes turns, and becomes a table."""

    name: str
    caption: str
    readers: list[Reader]
    rows: int = 1
    at_once: int = 1


BARE = Reader("redis-py: GET, msgspec", "plain", "bare")
ONE = [
    BARE,
    Reader("RowCache.get", "plain", "ours", is_ours=True),
    Reader("RowCache.get, fill=True", "plain", "fill", is_ours=True),
    Reader("dogpile.cache: get", "dogpile", "get"),
    Reader("dogpile.cache: get_or_create", "dogpile", "create"),
    Reader("django-redis: get", "django", "get"),
    Reader("django-redis: get_or_set", "django", "set"),
    Reader("PostgreSQL: psycopg, prepared", "database", "psycopg"),
    Reader("PostgreSQL: SQLAlchemy Core", "database", "core"),
    Reader("PostgreSQL: SQLAlchemy Session.get", "database", "orm"),
    Reader("RowCache(near=…).get", "near", "ours", is_ours=True),
    Reader("redis-py: client-side caching, msgspec", "near", "client"),
]
MANY = [
    Reader("redis-py: MGET, msgspec", "plain", "bare"),
    Reader("RowCache.get_many", "plain", "ours", is_ours=True),
    Reader("RowCache.get_many, fill=True", "plain", "fill", is_ours=True),
    Reader("dogpile.cache: get_multi", "dogpile", "get"),
    Reader("django-redis: get_many", "django", "get"),
    Reader("PostgreSQL: psycopg, prepared", "database", "psycopg"),
    Reader("PostgreSQL: SQLAlchemy Core", "database", "core"),
    Reader("RowCache(near=…).get_many", "near", "ours", is_ours=True),
]
AWAITED = [
    Reader("redis.asyncio: GET, msgspec", "awaited", "bare"),
    Reader("AsyncRowCache.get", "awaited", "ours", is_ours=True),
    Reader("AsyncRowCache.get, fill=True", "awaited", "fill", is_ours=True),
    Reader("aiocache: get", "aiocache", "get"),
    Reader("aiocache: @cached", "aiocache", "cached"),
    Reader("cashews: get", "cashews", "get"),
    Reader("cashews: get_or_set", "cashews", "set"),
    Reader("AsyncRowCache(near=…).get", "awaited near", "ours", is_ours=True),
    Reader("cashews: client_side=True, get", "cashews near", "get"),
]
THREADS = [
    BARE,
    Reader("RowCache.get", "plain", "ours", is_ours=True),
    Reader("dogpile.cache: get", "dogpile", "get"),
    Reader("django-redis: get", "django", "get"),
    Reader("RowCache(near=…).get", "near", "ours", is_ours=True),
]
RACES = [
    Race("one", "One row, one read after the other. First the ratios to the bare client", ONE),
    Race("10", "10 rows a call, one call after the other", MANY, rows=10),
    Race("100", "100 rows a call, one call after the other", MANY, rows=100),
    Race("awaited", "asyncio, one row, one read after the other", AWAITED),
    Race(
        "awaited50",
        "asyncio, one row, 50 tasks at once; time is that of the process for each read",
        AWAITED,
        at_once=50,
    ),
    Race("threads", "8 threads, one row; time is that of the process for each read", THREADS, at_once=8),
]
