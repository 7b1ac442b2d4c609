"""Length, consumers and oldest message of the queues at the broker."""

import base64
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import KombuError

TIMEOUT_S = 1
PAUSE_S = 30.0
"""A broker that did not answer is not asked again for so long: a view that is redrawn must not hang each time."""
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue at one moment."""

    length: int
    consumers: int | None = None  # None: the broker does not count them, as Redis
    oldest_at: float | None = None
    """Stamp of the oldest message, Unix seconds of the cache's Redis; None: the queue is empty, or it is not known."""


class BrokerState:
    """Reads queues and declares nothing."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._ask_again_at = 0.0
        self.error = ""  # reason why the broker could not be asked; empty when it could

    @property
    def beat_scheduler(self) -> str:
        """Scheduler of `celery beat` in the settings of the application."""
        return str(self._app.conf.beat_scheduler)

    def read(self, *names: str) -> Mapping[str, QueueState] | None:
        """Read the state of each queue; None when the broker does not answer. A queue that is not there is empty."""
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            found, self.error = self._ask(names), ""
        except (KombuError, redis.RedisError, OSError) as error:
            found, self.error = None, f"the broker does not answer: {error}"
        except (KeyError, ValueError, ImportError):
            # The text of the error may quote a part of the password.
            found, self.error = None, "broker_url is not a URL that Celery supports"
        if found is None:
            self._ask_again_at = time.monotonic() + PAUSE_S
        return found

    def _ask(self, names: tuple[str, ...]) -> dict[str, QueueState]:
        url = str(self._app.conf.broker_write_url or "")
        # Without a time-out of its own, a transport waits minutes for a server that vanished.
        options: dict[str, Any] = {}
        if url.startswith(("redis", "sentinel")):
            options = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": 2 * TIMEOUT_S}
        with self._app.connection_for_write(connect_timeout=TIMEOUT_S, transport_options=options) as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=TIMEOUT_S)
                return {name: read_queue(connection, name) for name in names}
            except (*connection.channel_errors, *connection.connection_errors) as error:
                raise OSError(str(error)) from error


def read_queue(connection: Any, name: str) -> QueueState:
    """Read the state of a queue."""
    channel = connection.channel()  # one for each queue: a queue that is not there closes it
    if hasattr(channel, "conn_or_acquire"):  # Redis, where kombu does not find a queue with global_keyprefix
        length = int(channel._size(name))
        return QueueState(length, None, oldest_stamp(channel, name) if length else None)
    try:
        declared = channel.queue_declare(name, passive=True)
    except connection.channel_errors as error:
        if int(getattr(error, "reply_code", 0) or 0) != NOT_FOUND:
            raise
        return QueueState(0, 0 if connection.transport.driver_type == "amqp" else None)
    return QueueState(int(declared.message_count), int(declared.consumer_count))


def oldest_stamp(channel: Any, name: str) -> float | None:
    """Return the stamp of the oldest schedule change in a queue of Redis: kombu has a list for each priority."""
    keys = [f"{channel.global_keyprefix}{channel._q_for_pri(name, priority)}" for priority in channel.priority_steps]
    with channel.conn_or_acquire() as client:  # whose LINDEX has no prefix
        stamps = [parse_stamp_of(client.lindex(key, -1)) for key in keys]
    return min((stamp for stamp in stamps if stamp is not None), default=None)


def parse_stamp_of(message: bytes | None) -> float | None:
    """Return the stamp in a message with a schedule change, as kombu writes it; None: it has none."""
    try:
        body = json.loads(base64.b64decode(json.loads(message or b"")["body"]))
        stamp = float(body[1]["stamp"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return stamp if math.isfinite(stamp) else None
