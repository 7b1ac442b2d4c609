"""How often a server has run scripts."""

from contextlib import contextmanager


@contextmanager
def counted(client):
    """Give a list; at the end it gets the number of script calls of the whole server meanwhile."""
    found, before = [], calls(client)
    yield found
    found.append(calls(client) - before)


def calls(client):
    """Count the calls since the start; not those of a script that the server does not know."""
    stats = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0, "failed_calls": 0})
    return stats["calls"] - stats["failed_calls"]
