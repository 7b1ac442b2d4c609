"""Own the connections to the broker: kombu's, less what its Redis transport does for each message and we do not need.

It makes a redis-py client for every command that it sends, although the connections are the pool's: a tenth of a
millisecond each. Here a channel keeps one client for its pool. And it writes down each message that a worker fetches,
to deliver it again when the worker was killed; for a batch to refresh, the lease of its rows does that, and sooner.
Brokers other than Redis are kombu's alone. Must not know tasks.
"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

__all__ = ["REFRESH_QUEUE", "RowCacheAMQP"]

REFRESH_QUEUE = "rowcache.refresh"
"""Batches of rows to refresh, sent by dispatchers."""


def is_batch(message: Any) -> bool:
    """Whether a fetched message is a batch to refresh."""
    return message is not None and message.delivery_info.get("routing_key") == REFRESH_QUEUE


class QoS(kombu_redis.QoS):
    """The messages that were fetched and not acknowledged: batches in memory alone, all others in Redis, too."""

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
            return
        if tag in self._dirty:
            return  # acknowledged, and not cleared away yet
        with self.channel.conn_or_acquire(client) as connected, connected.pipeline() as pipe:
            sent = message.delivery_info
            exchange = sent.get("exchange", "")
            self.channel._do_restore_message(message._raw, exchange, sent["routing_key"], pipe, leftmost)
            pipe.execute()


class KeptClient:
    """What both kinds of channel do differently."""

    pool: Any
    _kept_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Give the client of the pool; a new one when the channel has got another pool, as after a fork."""
        create: Any = super()._create_client  # type: ignore[misc]  # of the channel that this is mixed into
        if asynchronous:
            return create(asynchronous=True)
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = create()
        return self._kept_client


class Channel(KeptClient, kombu_redis.Channel):
    """A channel to one server."""

    QoS = QoS


class SentinelChannel(KeptClient, kombu_redis.SentinelChannel):
    """A channel to the server that Sentinel names."""

    QoS = QoS


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


class BrokerConnection(Connection):
    """A connection that this application makes."""

    def get_transport_cls(self) -> Any:
        """Give our transport in place of kombu's."""
        found: Any = super().get_transport_cls()
        return OURS.get(found, found)


class RowCacheAMQP(AMQP):
    """What the Celery application sends and receives with."""

    Connection = BrokerConnection
