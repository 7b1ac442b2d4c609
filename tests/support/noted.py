"""Notes of processes that are not there, for tests of those who read them."""

import json

BOTH = ("rowcache.refresh", "rowcache.schedule")


def note(
    client, kind="worker", name="celery@a", *, ago=0, pid=7, tables=("inv", "users"), queues=BOTH, of="", **fields
):
    """Let a process of the deployment `of` have noted itself `ago` seconds ago."""
    seconds, microseconds = client.time()
    now = seconds + microseconds / 1e6
    found = {"kind": kind, "name": name, "pid": pid, "tables": tables, "started_at": now - 1000}
    found |= {"queues": queues} if kind == "worker" else {}
    client.zadd(f"processes:{of}", {json.dumps(found | fields): now - ago})


def note_both(client):
    """Let one dispatcher and one worker be alive."""
    note(client, "dispatcher", "beat@a")
    note(client)
