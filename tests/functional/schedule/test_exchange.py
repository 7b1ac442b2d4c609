"""Commands whose replies are read later."""

import pytest

from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.servers import open_exchange


def hold_and_fail(exchange, command):
    with exchange.held():
        exchange.send([command])
        raise LookupError


@pytest.mark.parametrize("databases", [(9,), (9, 8)], ids=["one server", "several"])
def test_commands_of_a_held_block_that_raises_are_not_sent(valkey, databases):
    """A claim whose reply nobody reads would hold its rows for a lease."""
    with connect(" ".join(map(valkey.url_for, databases)), "test") as client, open_exchange(client) as exchange:
        before = exchange.send([("SET", "held", "before")])
        with pytest.raises(LookupError):
            hold_and_fail(exchange, ("SET", "held", "after"))
        after = exchange.send([("GETDEL", "held")])
        exchange.read()
    assert (before, after) == ([b"OK"], [b"before"])
