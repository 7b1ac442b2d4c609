"""Length of a queue at the broker, for status and health. A dispatcher counts on its own connection."""

import time
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import KombuError

TIMEOUT_S = 1
PAUSE_S = 30.0
"""A broker that did not answer is not asked again for so long: a view that is redrawn must not hang each time."""
NOT_FOUND = 404


class Queue:
    """A queue at the broker of an application."""

    def __init__(self, app: Celery, name: str) -> None:
        self._app = app
        self._name = name
        self._ask_again_at = 0.0
        self.error = ""
        """Reason why the broker could not be asked; empty when it could."""

    def length(self) -> int | None:
        """Count the messages that wait, and declare nothing; None when the broker does not answer."""
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            length, self.error = self._ask(), ""
        except (KombuError, redis.RedisError, OSError) as error:
            length, self.error = None, f"the broker does not answer: {error}"
        except (KeyError, ValueError, ImportError):
            # The text of the error may quote a part of the password.
            length, self.error = None, "broker_url is not a URL that Celery supports"
        if length is None:
            self._ask_again_at = time.monotonic() + PAUSE_S
        return length

    def _ask(self) -> int:
        url = str(self._app.conf.broker_write_url or "")
        # Without a time-out of its own, a transport waits minutes for a server that vanished.
        options: dict[str, Any] = {}
        if url.startswith(("redis", "sentinel")):
            options = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": 2 * TIMEOUT_S}
        with self._app.connection_for_write(connect_timeout=TIMEOUT_S, transport_options=options) as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=TIMEOUT_S)
                channel: Any = connection.default_channel
                return int(channel.queue_declare(self._name, passive=True).message_count)
            except connection.channel_errors as error:
                if int(getattr(error, "reply_code", 0) or 0) == NOT_FOUND:
                    return 0
                raise OSError(str(error)) from error
            except connection.connection_errors as error:
                raise OSError(str(error)) from error
