"""Findings of doctor about the servers of a deployment."""

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.ops.doctor import examine_keyspace
from rowcache_tasks.schedule.connection import connect


def examine(url, about, replicas=0, **table):
    """Return the findings of a deployment about something, without those that are well."""
    tables = {"inv": {"table": "inventory", **table}}
    settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables, "rowcache_replicas": replicas})
    with connect(settings.redis_url, "test") as client:
        found = [f"{f.level} {f.text}" for f in examine_keyspace(settings, client)]
    return [line for line in found if line.split()[1].rstrip(":") == about and not line.startswith("ok ")]
