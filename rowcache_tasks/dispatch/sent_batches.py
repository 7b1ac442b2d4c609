"""List in Redis of the batches that were sent and not started yet."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.servers import node_of
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)

EXPIRY_SLACK_S = 60  # a batch expires so long after its lease, by the clock of Redis: its rows are due again anyway

SEND_SHARE = 0.25
"""Share of the shortest lease within which a batch is sent. Less than the half after which claims pause."""

UNLISTED = (
    "unlisted_batch: a batch is not in %s of this Redis: its message came twice, or a deployment with another Redis "
    "uses the same broker, and its rows wait for their lease: name each deployment (rowcache_deployment)"
)


class SentBatches:
    """Sorted set of the claim times of batches. A claim adds a batch; the worker that starts the batch removes it.

    Dispatchers do not send in the order of their claims. A batch that was claimed SEND_SHARE of a lease before another
    one lies before it in the queue: a dispatcher that takes longer does not send, or adds the batch again.
    """

    def __init__(self, client: "redis.Redis", key: str, state: str = "") -> None:
        self._client = client
        self._key = key
        self._state = state  # of a part of a table: its HASH with the newest claim that a worker has started
        self._started: tuple[list[Any], float, Sequence[Claim]] = [], 0.0, ()
        """The last start: its replies, as far as they are read, when it was sent (monotonic clock), its batches."""
        self._sent_at = 0.0
        self._clock_ahead_s = math.inf
        """Time by the clock of Redis, in Unix seconds, less that of the monotonic clock; infinite until it is known."""

    def start(self, claims: Sequence[Claim], exchange: Exchange) -> list[Claim]:
        """Remove the batches of a message that a worker starts, and those before it in the queue.

        Return those that have not expired. Waits for the reply only when a lease may have ended, or at the first start
        of the process. Raises the errors of a lost connection.
        """
        if self.begin(claims, exchange):
            exchange.read()
        return self.live(claims)

    def begin(self, claims: Sequence[Claim], exchange: Exchange) -> bool:
        """Send that batches are started; return whether the reply must be read before `live`."""
        first = claims[0]
        claimed_at = float(first.claimed_at)
        sent_before = claimed_at - SEND_SHARE * (float(first.lease_until) - claimed_at)
        self._note_started()
        commands = [
            ("TIME",),
            ("ZREM", self._key, *(claim.claimed_at for claim in claims)),
            ("ZREMRANGEBYSCORE", self._key, "-inf", f"({sent_before!r}"),
        ]
        if self._state:
            commands.append(("HSET", self._state, "started", first.claimed_at))
        self._sent_at = time.monotonic()
        self._started = exchange.send(commands, self._key), self._sent_at, claims
        return self._sent_at + self._clock_ahead_s > min(float(claim.lease_until) for claim in claims)

    def live(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the batches that have not expired."""
        if self._started[0]:
            self._note_started()
        if self._clock_ahead_s == math.inf:  # Redis has refused
            return list(claims)
        now = self._sent_at + self._clock_ahead_s
        return [claim for claim in claims if now <= float(claim.lease_until) + EXPIRY_SLACK_S]

    def _note_started(self) -> None:
        """Note the time in the replies to the last start, and log errors among them."""
        (replies, sent_at, claims), self._started = self._started, ([], 0.0, ())
        for reply in replies:
            if isinstance(reply, Exception):
                text = "the start of a batch could not be noted in %s: %s"
                warn_once(logger, f"unnoted {self._key}", text, self._key, reply)
                return
        if replies:
            seconds, microseconds = replies[0]
            self._clock_ahead_s = int(seconds) + int(microseconds) / 1e6 - sent_at
            if replies[1] < len(claims) and all(map(self._is_young, claims)):
                warn_once(logger, f"unlisted {self._key}", UNLISTED, self._key)

    def _is_young(self, claim: Claim) -> bool:
        """Return whether a claim is so young that no dispatcher has forgotten it."""
        claimed_at = float(claim.claimed_at)
        return 0 <= self.estimate_now() - claimed_at < SEND_SHARE * (float(claim.lease_until) - claimed_at)

    def estimate_now(self) -> float:
        """Return a time by the clock of Redis, Unix seconds: a little after now; infinite until one is known."""
        return time.monotonic() + self._clock_ahead_s

    def add(self, claim: Claim) -> None:
        """Add a batch again that was sent late: it may have been forgotten before it was in the queue.

        A batch that has been started meanwhile stays on the list until the queue is empty: claims may pause until then.
        """
        with self._ignore_foreign_key():
            self._client.zadd(self._key, {claim.claimed_at: float(claim.claimed_at)})

    def remove(self, claim: Claim) -> None:
        """Remove a batch that is not sent."""
        with self._ignore_foreign_key():
            self._client.zrem(self._key, claim.claimed_at)

    def forget(self, until: float) -> None:
        """Remove the batches claimed up to a time in Unix seconds."""
        self._client.zremrangebyscore(self._key, "-inf", until)

    def forget_passed(self, states: Sequence[str], lease_s: float) -> None:
        """Remove batches before those that workers have started of any part on the same server, by its `states`."""
        started: list[float] = []
        pipeline = self._client.pipeline(transaction=False)
        for state in states:
            pipeline.hget(state, "started")
        for found in pipeline.execute(raise_on_error=False):
            with suppress(TypeError, ValueError):  # none yet, or an error
                started.append(float(found))
        if started:
            self.forget(max(started) - SEND_SHARE * lease_s)

    def now(self) -> float:
        """Return the time of the clock by which batches are claimed; Unix seconds."""
        with node_of(self._client, self._key) as client:
            seconds, microseconds = client.time()
        return int(seconds) + int(microseconds) / 1e6

    @contextmanager
    def _ignore_foreign_key(self) -> Iterator[None]:
        """Log that the key holds another type, made by another program: no reason not to refresh rows."""
        try:
            yield
        except redis.ResponseError as error:
            logger.warning("%s is not usable: %s", self._key, error)
