"""Redis behind a circuit breaker: the errors of redis-py as CacheError."""

import logging
import random
import time
from collections.abc import Callable

import redis

from rowcache_tasks.errors import CacheError
from rowcache_tasks.errors.text import one_line
from rowcache_tasks.schedule.node import NodeAwayError, is_pool_exhausted

logger = logging.getLogger(__name__)

CLIENT_ERRORS = (redis.RedisError, UnicodeDecodeError)  # the errors of a client; the latter with decode_responses

PIECE = 500  # keys in one command: about 0.4 ms, for which the server does nothing else; less for large values


class Breaker:
    """Circuit breaker: opens after `threshold` failures in a row, for about `pause_s` seconds; then one caller tries.

    The pause is shortened by up to half at random, so that processes do not all try at once. Thread-safe without a
    lock, which a fork could leave held: two callers in the same instant may both pass.
    """

    def __init__(self, threshold: int = 3, pause_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0  # failures in a row so far
        self._threshold, self._pause_s, self._clock = threshold, pause_s, clock
        self._open_until = 0.0

    def allows(self) -> bool:
        """Whether to try. After the pause one caller passes; the others wait for its result."""
        if self.failures < self._threshold:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._pause_s  # in case that this caller reports no result
        return True

    def succeed(self) -> bool:
        """Report a success: closes the breaker; returns whether it was open."""
        was_open = self.failures >= self._threshold
        if self.failures:
            self.failures = 0
        return was_open

    def fail(self) -> bool:
        """Report a failure; returns whether it opened the breaker."""
        self.failures += 1
        self._open_until = self._clock() + self._pause_s * (0.5 + random.random() / 2)  # noqa: S311 no secret
        return self.failures == self._threshold


class Server:
    """Context manager for a call of Redis, awaited or not, by the readers of one table. Thread-safe, reentrant.

    Raises CacheError: at once while the breaker is open, else for each error of redis-py in the block.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self.breaker = Breaker()

    def __enter__(self) -> None:
        if self.breaker.failures and not self.breaker.allows():
            raise CacheError(f"{self._table}: Redis was down less than a second ago: try again")

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            if self.breaker.failures:
                self._succeed()
        elif isinstance(error, CLIENT_ERRORS):
            raise self.failure(error)

    def failure(self, error: Exception) -> CacheError:
        """Count an error of redis-py; returns the error to raise, with its cause."""
        failure = CacheError(f"{self._table}: {self._reason(error)}")
        failure.__cause__ = error
        return failure

    def _reason(self, error: Exception) -> str:
        reason = one_line(str(error))
        if not isinstance(error, redis.ConnectionError | redis.TimeoutError):
            self._succeed()
            return f"Redis refuses: {reason}"
        if isinstance(error, NodeAwayError):  # rows on other servers are read
            return f"Redis does not answer: {reason}"
        if is_pool_exhausted(error):
            return "all connections are in use: try again, or allow more"
        if self.breaker.fail():  # once for an outage: with when_redis_is_down, callers see no error
            logger.warning("%s: Redis does not answer, and is asked about once a second: %s", self._table, reason)
        return f"Redis does not answer: {reason}"

    def _succeed(self) -> None:
        if self.breaker.succeed():
            logger.info("%s: Redis answers again", self._table)


def is_wrong_type(error: Exception) -> bool:
    """Whether the key holds a value of another type, written by another client."""
    return isinstance(error, redis.ResponseError) and str(error).startswith("WRONGTYPE")
