"""Connection to PostgreSQL that closes when the server stays silent.

Imports psycopg, an optional extra; imported when a connection is opened.
"""

import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, OperationalError


class BoundedConnection(Connection[tuple[Any, ...]]):
    """Connection with a bounded wait for each answer; then it closes itself and raises.

    libpq waits for ever. Keepalives do not help while a proxy, a pooler or a stopped server process still acknowledges
    packets.
    """

    silence_limit_s = float("inf")
    """Longest silence of the server while it owes an answer; seconds."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Run one exchange of psycopg with the server. Raises OperationalError when the server is silent."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Wrap psycopg's generator, which gets 0 ten times a second while nothing can be read or written."""
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.silence_limit_s:
                    self.close()  # SQLAlchemy goes by this, and not by the exception, to open another one
                    raise OperationalError(f"the server has not answered for {self.silence_limit_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
