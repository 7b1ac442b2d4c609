"""Redis transport of kombu at a lower cost of each message; other brokers are kombu's alone.

docs/upstream.md has a section for each override.
"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from rowcache_tasks.celery.kombu.guard import guarded, is_tested

__all__ = ["REFRESH_QUEUE", "RowCacheAMQP"]

REFRESH_QUEUE = "rowcache.refresh"
"""Batches of rows to refresh, sent by dispatchers."""

KOMBU = "kombu.transport.redis"


def is_batch(message: Any) -> bool:
    """Return whether a fetched message is a batch to refresh."""
    return message is not None and message.delivery_info.get("routing_key") == REFRESH_QUEUE


@guarded(
    {
        f"{KOMBU}:QoS.append": "35c655f6ecc6",
        f"{KOMBU}:QoS.ack": "1bc15a4ddf54",
        f"{KOMBU}:QoS.reject": "747a02434344",
        f"{KOMBU}:QoS.restore_by_tag": "58e161d81b6f",
        f"{KOMBU}:Channel._do_restore_message": "fccdf81a0220 8b430df94e45",
    }
)
class BatchQoS(kombu_redis.QoS):
    """Fetched and unacknowledged messages: batches in memory, all others in Redis as well.

    kombu writes each fetched message to Redis, to deliver it again when its worker was killed. For a batch, the lease
    of its rows does that as well, and sooner.
    """

    _delivered: Any
    _dirty: Any
    channel: Any

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was fetched."""
        if is_batch(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message."""
        if is_batch(self._delivered.get(delivery_tag)):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Forget a message, or put it back."""
        if not is_batch(self._delivered.get(delivery_tag)):
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self.restore_by_tag(delivery_tag, leftmost=True)
        virtual.QoS.ack(self, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue."""
        message = self._delivered.get(tag)
        if not is_batch(message):
            super().restore_by_tag(tag, client, leftmost)
        elif tag not in self._dirty:  # where it is acknowledged, and not cleared away yet
            sent = message.delivery_info
            with self.channel.conn_or_acquire(client) as connected, connected.pipeline() as pipe:
                self.channel._do_restore_message(
                    message._raw, sent.get("exchange", ""), sent["routing_key"], pipe, leftmost
                )
                pipe.execute()


class KeptClient:
    """Mixin of a channel that keeps one redis-py client for its pool: kombu makes one for each command.

    The connections are the pool's either way. A client costs a tenth of a millisecond.
    """

    IS_TESTED = is_tested(
        "KeptClient",
        {
            f"{KOMBU}:Channel._create_client": "30a3e9ee7712 dae92bc4075d",
            f"{KOMBU}:Channel.conn_or_acquire": "25883caca6c4",
        },
    )
    pool: Any
    _kept_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return the client of the pool; a new one when the channel has another pool, as after a fork."""
        create: Any = super()._create_client  # type: ignore[misc]  # of the channel that this is mixed into
        if asynchronous or not self.IS_TESTED:
            return create(asynchronous)
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = create()
        return self._kept_client


class Channel(KeptClient, kombu_redis.Channel):
    """A channel to one server."""

    QoS = BatchQoS


class SentinelChannel(KeptClient, kombu_redis.SentinelChannel):
    """A channel to the server that Sentinel names."""

    QoS = BatchQoS


class Transport(kombu_redis.Transport):
    """Redis."""

    Channel = Channel


class SentinelTransport(kombu_redis.SentinelTransport):
    """Redis behind Sentinel."""

    Channel = SentinelChannel


OURS: dict[type, type] = {
    kombu_redis.Transport: Transport,
    kombu_redis.SentinelTransport: SentinelTransport,
}


@guarded({"kombu.connection:Connection.get_transport_cls": "6c439e6b9759"})
class BrokerConnection(Connection):
    """Connection that uses the transports above in place of kombu's."""

    def get_transport_cls(self) -> Any:
        """Return the class of the transport."""
        found: Any = super().get_transport_cls()
        return OURS.get(found, found)


class RowCacheAMQP(AMQP):
    """Sends and receives for the Celery application."""

    Connection = BrokerConnection
