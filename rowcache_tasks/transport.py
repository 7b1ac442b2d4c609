"""Own the connections to the broker: kombu's, less what its Redis transport does again for each command.

kombu 5.7 makes a redis-py client for every command that it sends, although the connections are the pool's: a tenth of
a millisecond each, several for each message. Here a channel keeps one client for each of its pools. Brokers other than
Redis are kombu's alone. Must not know tasks.
"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis

__all__ = ["RowCacheAMQP"]


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


class SentinelChannel(KeptClient, kombu_redis.SentinelChannel):
    """A channel to the server that Sentinel names."""


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
    """A connection of this application, whatever other applications of the process use."""

    def get_transport_cls(self) -> Any:
        """Give our transport in place of kombu's."""
        found: Any = super().get_transport_cls()
        return OURS.get(found, found)


class RowCacheAMQP(AMQP):
    """What the Celery application sends and receives with."""

    Connection = BrokerConnection
