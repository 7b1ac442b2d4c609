"""Check of the Sentinels: each answers, can fail the pair over, and names the same primary."""

from collections.abc import Iterator
from typing import Any

import redis

from rowcache_tasks.errors.text import show_count
from rowcache_tasks.ops.finding import Finding, fail, ok, warn

REMEDIES = {
    "NOQUORUM": "start the other Sentinels, or lower the quorum (SENTINEL SET)",
    "No such master": "correct the name in rowcache_redis_url",
}
"""Part of the error of a Sentinel -> remedy."""


def examine_sentinels(client: "redis.Redis") -> Iterator[Finding]:
    """Ask each Sentinel of a client of one server; without Sentinels, yield nothing."""
    pool: Any = client.connection_pool
    if (manager := getattr(pool, "sentinel_manager", None)) is None:
        return
    name, primaries, able = repr(pool.service_name), set(), 0
    for sentinel in manager.sentinels:
        where = "{host}:{port}".format(**sentinel.get_connection_kwargs())
        try:
            found: Any = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", pool.service_name)
            primaries.add(":".join(part.decode() for part in found or ()))
            sentinel.execute_command("SENTINEL", "CKQUORUM", pool.service_name)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            yield warn(f"sentinels: {where} does not answer: {error}: start it, or take it out of rowcache_redis_url")
        except redis.ResponseError as error:
            remedy = next((text for part, text in REMEDIES.items() if part in str(error)), "allow it (ACL SETUSER)")
            yield fail(f"sentinels: {where} cannot fail {name} over: {error}: {remedy}")
        else:
            able += 1
    if len(primaries) > 1:
        named = ", ".join(sorted(primaries))
        yield fail(
            f"sentinels: they name different primaries of {name}: {named}: SENTINEL RESET at those that are wrong"
        )
    if able:
        yield ok(f"sentinels: {show_count(able, 'answers', 'answer')} and can fail {name} over")
