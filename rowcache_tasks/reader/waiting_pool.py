"""Own how tasks wait for a connection of an asyncio pool: only if none is free. Knows no commands."""

from typing import Any

import redis.asyncio
from redis.exceptions import MaxConnectionsError

__all__ = ["WaitingPool"]


class WaitingPool(redis.asyncio.BlockingConnectionPool):
    """A BlockingConnectionPool that does without its condition and its timer, a fifth of a read, while nobody waits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = 0

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Give a free connection, or a new one while there are fewer than max_connections, or wait for one.

        Raises redis.ConnectionError after `timeout` seconds.
        """
        if not self._waiting and self.can_get_connection():
            try:
                return await redis.asyncio.ConnectionPool.get_connection(self)  # type: ignore[no-untyped-call]
            except MaxConnectionsError:
                pass  # while this task waited for a maintenance of the pool to end, others took the last ones
        self._waiting += 1
        try:
            return await super().get_connection()  # type: ignore[no-untyped-call]
        finally:
            self._waiting -= 1

    async def release(self, connection: Any) -> None:
        """Take a connection back, and wake one who waits."""
        await redis.asyncio.ConnectionPool.release(self, connection)
        # After that, not before: who has begun to wait meanwhile did not see it, and who comes now sees it.
        if self._waiting:
            async with self._condition:
                self._condition.notify()
