"""Transports of kombu: checked messages, batches in memory, failover."""

import json
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import redis
import redis.sentinel
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.transport import pyamqp, virtual
from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.celery.defaults import REFRESH_TASK
from rowcache_tasks.celery.kombu.guard import guarded
from rowcache_tasks.celery.kombu.message import describe, is_oversized, refusing
from rowcache_tasks.schedule.role import role_connection

logger = logging.getLogger(__name__)

KOMBU = "kombu.transport.redis"
CLOCK_S = 60  # seconds after which the clock of a server is read again
RETRY_S, REPORT_S = 1.0, 30.0  # seconds between two tries to connect, and between two reports that they fail


@guarded(
    {
        f"{KOMBU}:QoS.append": "35c655f6ecc6",
        f"{KOMBU}:QoS.ack": "1bc15a4ddf54",
        f"{KOMBU}:QoS.reject": "747a02434344",
        f"{KOMBU}:QoS.restore_by_tag": "58e161d81b6f",
        f"{KOMBU}:QoS.restore_visible": "56ab7a429783 d4a4a40a3eaf",
        f"{KOMBU}:Channel._do_restore_message": "fccdf81a0220 8b430df94e45",
    }
)
class BatchQoS(kombu_redis.QoS):
    """Fetched and unacknowledged messages: batches in memory, all others in Redis as well.

    kombu writes each fetched message to Redis, to deliver it again when its worker was killed. For a batch, the lease
    of its rows does that as well, and sooner. kombu notes the time of the fetch by the clock of the worker, and other
    workers compare it with theirs: here, all times are those of the server.
    """

    _delivered: Any
    _remove_from_indices: Any
    channel: Any
    _asked_at = -math.inf
    _ahead_s = 0.0  # time of the server less that of the monotonic clock, when it was asked last

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was fetched."""
        if not is_batch(message):
            sent = message.delivery_info
            entry = json.dumps([message._raw, sent["exchange"], sent["routing_key"]])
            fetched_at = {delivery_tag: self._now()}
            with self.pipe_or_acquire() as pipe:
                pipe.zadd(self.unacked_index_key, fetched_at).hset(self.unacked_key, delivery_tag, entry).execute()
        virtual.QoS.append(self, message, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Put messages back that were fetched `visibility_timeout` ago: of workers that were killed."""
        self.visibility_timeout = self.channel.visibility_timeout + time.time() - self._now()
        super().restore_visible(*args, **kwargs)

    def _now(self) -> float:
        """Return the time of the server, asked for once in CLOCK_S; Unix seconds."""
        now = time.monotonic()
        if now > self._asked_at + CLOCK_S:
            with self.channel.conn_or_acquire() as client:
                seconds, microseconds = client.time()
            self._asked_at, self._ahead_s = now, seconds + microseconds / 1e6 - now
        return now + self._ahead_s

    def ack(self, delivery_tag: str) -> None:
        """Forget a message."""
        if is_batch(self._delivered.get(delivery_tag)):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue; drop an entry that kombu cannot read: it would end every worker."""
        message = self._delivered.get(tag)
        if not is_batch(message):
            try:
                super().restore_by_tag(tag, client, leftmost)
            except (ValueError, TypeError, RecursionError) as error:
                logger.error("message_refused: not a fetched message: %s", describe(error))
                self._remove_from_indices(tag).execute()
        else:
            sent = message.delivery_info
            with self.channel.conn_or_acquire(client) as connected, connected.pipeline() as pipe:
                self.channel._do_restore_message(
                    message._raw, sent.get("exchange", ""), sent["routing_key"], pipe, leftmost
                )
                pipe.execute()


def is_batch(message: Any) -> bool:
    """Return whether a fetched message is a batch to refresh, or will be refused: neither is delivered again."""
    headers = getattr(message, "headers", None)
    return isinstance(headers, dict) and (headers.get("task") == REFRESH_TASK or is_oversized(message))


class ChannelPart:
    """Nothing, in place of SkipsUnreadable when that steps aside."""


@guarded({f"{KOMBU}:Channel._receive_one": "41430251b88d d59b8751d897"})
class SkipsUnreadable(ChannelPart):
    """Part of a channel that goes on after a message that is no JSON. It is out of its queue by then."""

    def _brpop_read(self, **options: Any) -> Any:
        """Deliver the message that BRPOP returned."""
        return self._or_skip(super()._brpop_read, **options)  # type: ignore[misc]

    def _receive_one(self, client: Any) -> Any:
        """Deliver a message of the mailbox of all processes."""
        return self._or_skip(super()._receive_one, client)  # type: ignore[misc]

    def _or_skip(self, read: Any, *args: Any, **options: Any) -> Any:
        try:
            return read(*args, **options)
        except (ValueError, RecursionError) as error:
            logger.error("message_refused: not a message: %s", describe(error))
            return True


class SkipsMalformed:
    """Part of a transport that goes on after a message without the fields of one."""

    def _deliver(self, message: Any, queue: str) -> None:
        """Hand a message to the consumer of its queue."""
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            logger.error("message_refused: not a message: %s", describe(error))


class LeavesReplica:
    """Part of a channel whose connections leave a server that became a replica, and that closes without a broker."""

    def queue_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete a queue; if the broker is away while the channel closes, leave it."""
        try:
            return super().queue_delete(*args, **kwargs)  # type: ignore[misc]
        except (redis.ConnectionError, redis.TimeoutError):
            if not self._closing:  # type: ignore[attr-defined]
                raise

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        """Return the options of connections: over TCP, TLS or a Unix socket, to a server or by way of Sentinel."""
        options = super()._connparams(*args, **kwargs)  # type: ignore[misc]
        # kombu calls connect() on a connection that is subscribed: a question would take a message for its answer.
        watched = role_connection(options["connection_class"], is_rechecked=False)
        return options | {"connection_class": watched}

    def _sentinel_managed_pool(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections to the primary. A Sentinel that is away must not hold up the question to the next."""
        asking = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
        self.sentinel_kwargs = asking | (getattr(self, "sentinel_kwargs", None) or {})
        return super()._sentinel_managed_pool(*args, **kwargs)  # type: ignore[misc]


def of_redis(transport: type[Any], **parts: Any) -> type[Any]:
    """Return a Redis transport with the channels and the connections of this package, and these parts of a channel."""
    channel = type("Channel", (SkipsUnreadable, LeavesReplica, transport.Channel), {"QoS": BatchQoS, **parts})
    return type("Transport", (SkipsMalformed, transport), {"Channel": channel})


def of_amqp(transport: type[Any]) -> type[Any]:
    """Return an AMQP transport with the messages of this package."""
    kind = transport.Connection.Channel
    channel = type("Channel", (kind,), {"Message": refusing(kind.Message)})
    connection = type("Connection", (transport.Connection,), {"Channel": channel})
    return type("Transport", (transport,), {"Connection": connection})


REDIS: tuple[type[Any], ...] = (kombu_redis.Transport, kombu_redis.SentinelTransport)
OF_PACKAGE = {kind: of_redis(kind, Message=refusing(kind.Channel.Message)) for kind in REDIS}
OF_PACKAGE |= {kind: of_amqp(kind) for kind in (pyamqp.Transport, pyamqp.SSLTransport)}
OF_USER = {kind: of_redis(kind) for kind in REDIS}  # for an application of the user, whose messages may be compressed


class BrokerConnection(Connection):
    """Connection that uses the transports above in place of kombu's: no setting replaces the class for redis://."""

    transports: Mapping[type[Any], type[Any]] = OF_PACKAGE

    def ensure_connection(  # type: ignore[override]
        self, errback: Any = None, max_retries: int | None = None, **options: Any
    ) -> Any:
        """Connect. Without a limit, try every RETRY_S, where kombu waits up to 30 s; report once in REPORT_S."""
        if max_retries is not None:
            return super().ensure_connection(errback, max_retries, **options)
        reported_at = -math.inf

        def report(error: Exception, pause_s: float) -> None:
            nonlocal reported_at
            if errback and time.monotonic() > reported_at + REPORT_S:
                reported_at = time.monotonic()
                errback(error, pause_s)

        pauses = {"interval_start": RETRY_S, "interval_step": 0, "interval_max": RETRY_S}
        return super().ensure_connection(report, **pauses | options)

    def get_transport_cls(self) -> Any:
        """Return the class of the transport."""
        found: Any = super().get_transport_cls()
        return self.transports.get(found, found)

    def Pool(self, limit: Any = None, **options: Any) -> ConnectionPool:  # noqa: N802 name of kombu
        """Return a pool of such connections: senders and mailboxes use one. kombu's has plain connections."""
        return BrokerPool(self, limit, **options)


class PooledBrokerConnection(PooledConnection, BrokerConnection):  # type: ignore[misc]  # in the stubs
    """BrokerConnection of a pool."""


class BrokerPool(ConnectionPool):
    """Pool of BrokerConnections."""

    def new(self) -> Any:
        """Make a connection."""
        first: Any = self.connection
        connection: Any = PooledBrokerConnection(self, **dict(first._info(resolve=False)))
        connection.transports = first.transports
        return connection


class UserConnection(BrokerConnection):
    """Connection of an application of the user."""

    transports = OF_USER
