"""Own how readers ask Redis: a circuit breaker before it, and its errors as CacheError. Knows no keys."""

import logging
from collections.abc import Callable
from typing import Any

import redis

from rowcache_tasks.errors import CacheError
from rowcache_tasks.reader.breaker import Breaker
from rowcache_tasks.reader.port import Port, Steps

__all__ = ["Server"]

logger = logging.getLogger(__name__)


class Server:
    """Redis as the readers of one table see it. Thread-safe."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.breaker = Breaker()

    def ask(self, step: Callable[[Port], Any], *, other_type: Any = None) -> Steps[Any]:
        """Give the reply. Raises CacheError: at once when Redis was down a moment ago, else within its time-outs.

        other_type: what to give for a key of another type, which only a foreign client can have written.
        """
        if not self.breaker.allows():
            raise CacheError(f"{self._table}: Redis was down less than a second ago: try again")
        try:
            reply = yield step
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if is_own_limit(error):
                raise CacheError(f"{self._table}: all connections are in use: try again, or allow more") from error
            if self.breaker.fail():  # once for an outage: who reads the database meanwhile sees no error
                logger.warning(
                    "%s: Redis does not answer, and is asked about once a second: %s", self._table, one_line(error)
                )
            raise CacheError(f"{self._table}: Redis does not answer: {one_line(error)}") from error
        except (redis.RedisError, UnicodeDecodeError) as error:  # the last one: a client with decode_responses
            self._succeed()
            if other_type is not None and str(error).startswith("WRONGTYPE"):
                return other_type
            raise CacheError(f"{self._table}: Redis refuses: {one_line(error)}") from error
        self._succeed()
        return reply

    def _succeed(self) -> None:
        if self.breaker.succeed():
            logger.info("%s: Redis answers again", self._table)


def is_own_limit(error: Exception) -> bool:
    """Whether it is the pool of this process that has no connection left; the server may be well."""
    return isinstance(error, redis.exceptions.MaxConnectionsError) or str(error) == "No connection available."


def one_line(error: Exception) -> str:
    """Cut an error's text to a line."""
    return " ".join(str(error).split())[:200]
