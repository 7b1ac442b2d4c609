"""List in Redis of the messages that workers have fetched and not finished.

Every worker puts those of dead workers back into their queues: when it connects, and from time to time. An entry that
is not readable ends the worker.
"""

import json
import logging
from typing import Any

from celery import Celery

__all__ = ["drop_unreadable"]

logger = logging.getLogger(__name__)


def drop_unreadable(app: Celery) -> int:
    """Remove entries other than a JSON list of [message, exchange, routing key]; return their number."""
    dropped = 0
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        if not hasattr(channel, "unacked_key"):
            return 0  # not Redis: the broker keeps such a list itself
        client = channel.client
        for tag in client.zrange(channel.unacked_index_key, 0, -1):
            if not is_readable(client.hget(channel.unacked_key, tag)):
                client.zrem(channel.unacked_index_key, tag)
                dropped += client.hdel(channel.unacked_key, tag)
    logger.error("message_refused: %d unreadable entries of the list of fetched messages", dropped)
    return dropped


def is_readable(entry: bytes | None) -> bool:
    """Return whether kombu can unpack an entry. An entry that is gone does no harm."""
    try:
        return entry is None or len(json.loads(entry)) == 3
    except (ValueError, TypeError, RecursionError):
        return False
