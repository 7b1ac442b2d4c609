"""Number of script calls of a Redis server."""

from contextlib import contextmanager


@contextmanager
def count_script_calls(client):
    """Yield a list; on exit the number of script calls that the server ran inside the `with` is appended."""
    found, before = [], script_calls(client)
    yield found
    found.append(script_calls(client) - before)


def script_calls(client):
    """Return the number of EVALSHA and EVAL calls since the start of the server, without those that failed."""
    stats = client.info("commandstats")
    counts = [stats.get(f"cmdstat_{command}", {"calls": 0, "failed_calls": 0}) for command in ("evalsha", "eval")]
    return sum(count["calls"] - count["failed_calls"] for count in counts)
