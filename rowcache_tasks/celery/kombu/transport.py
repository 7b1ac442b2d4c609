"""Redis transport of kombu that keeps fetched batches in memory; other brokers are kombu's alone.

docs/upstream.md has the reasons.
"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from rowcache_tasks.celery.kombu.guard import guarded

REFRESH_QUEUE = "rowcache.refresh"
"""Batches of rows to refresh, sent by dispatchers."""

KOMBU = "kombu.transport.redis"


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


def is_batch(message: Any) -> bool:
    """Return whether a fetched message is a batch to refresh."""
    return message is not None and message.delivery_info.get("routing_key") == REFRESH_QUEUE


def with_batch_qos(transport: type[Any]) -> type[Any]:
    """Return a transport whose channels use BatchQoS."""
    channel = type("Channel", (transport.Channel,), {"QoS": BatchQoS})
    return type("Transport", (transport,), {"Channel": channel})


TRANSPORTS = {kind: with_batch_qos(kind) for kind in (kombu_redis.Transport, kombu_redis.SentinelTransport)}


class BrokerConnection(Connection):
    """Connection that uses the transports above in place of kombu's: no setting replaces the class for redis://."""

    def get_transport_cls(self) -> Any:
        """Return the class of the transport."""
        found: Any = super().get_transport_cls()
        return TRANSPORTS.get(found, found)


class RowCacheAMQP(AMQP):
    """Sends and receives for the Celery application."""

    Connection = BrokerConnection
