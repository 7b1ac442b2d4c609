"""Own what a worker does with a message that is none (refuse it with one line, and go on) and with a lost connection.

Whoever can write to the broker can put anything into a queue. Celery's own consumer refuses what it foresees (another
serializer, an unknown task). At the rest it ends, and the next worker gets the message; or a process of its pool is
lost for good. Must not know tasks or rows.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

from rowcache_tasks.celery.kombu.shutdown import keep_handed_over
from rowcache_tasks.celery.kombu.unacked import drop_unreadable
from rowcache_tasks.text import redact

__all__ = ["RefusingConsumer"]

logger = logging.getLogger(__name__)

HIDDEN = ("password", "alternates", "transport_options", "credential_provider")
"""What may hold a password: other brokers, Sentinel's options."""
SHOWN = 200
"""Characters of an error in the log: its text may hold what somebody else wrote."""
EVENTS_S = 0.25
"""Events of so long go out as one message, or earlier, when there are 24. Celery sends them before the next task."""


class RefusingConsumer(Consumer):
    """The consumer of every worker of the package."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]  # the stubs have it as a variable
        """Tells `inspect stats`, and so Flower, about the parts of the consumer."""

        def info(self, parent: Any) -> dict[str, Any]:
            """Leave out the passwords of the broker's addresses; Celery only does so for one that is a host."""
            found: dict[str, Any] = super().info(parent)
            broker = found.get("broker")
            if isinstance(broker, dict):
                broker = {name: value for name, value in broker.items() if name not in HIDDEN}
                found["broker"] = broker | {"hostname": redact(str(broker.get("hostname")))}
            return found

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    blueprint: Any
    event_dispatcher: Any
    hub: Any
    loop: Callable[..., Any]
    pool: Any
    _flush_timer: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # kombu counts KeyError among the failures of a connection, but a message can cause it, too.
        self._failures = tuple(
            kind
            for kind in (*self.connection_errors, *self.channel_errors)
            if not issubclass(kind, LookupError | ValueError | TypeError | AttributeError)
        )
        self.loop = self._guard(self.loop)

    def connect(self) -> Any:
        """Connect; first drop what another program put among the fetched messages, if kombu trips over it."""
        try:
            return super().connect()
        except self._failures:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            logger.error("message_refused: not a fetched message: %s", describe(error))
            drop_unreadable(self.app)
            return super().connect()

    def on_send_event_buffered(self) -> Any:
        """Hold an event back for others to go with it. Celery may cancel a timer, with those of a lost connection."""
        if self.hub and (self._flush_timer is None or self._flush_timer.canceled):
            self._flush_timer = self.hub.call_later(EVENTS_S, self._flush_events)

    def _flush_events(self) -> None:
        self._flush_timer = None
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def shutdown(self) -> None:
        """End, after the pool; what was held back goes first, as no timer may have rung since the stop."""
        self._flush_events()
        super().shutdown()

    def on_close(self) -> None:
        """Forget the messages that were fetched and not started. Events that were held back go, if they can."""
        self._flush_events()
        with keep_handed_over(self.pool):
            super().on_close()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Make what is called with each message; a message that it cannot make sense of is rejected."""
        receive = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            try:
                check_task(message.headers, message.payload)
                receive(message)
            except self._failures:
                raise
            except Exception as error:  # noqa: BLE001 whatever is in a message, it must not end the worker
                logger.error("message_refused: not a task: %s", describe(error))
                if not message.acknowledged:
                    message.reject_log_error(logger, self.connection_errors)

        return on_task_received

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Give a lost connection up. Celery would end the worker when it had fetched messages and the broker is gone.

        kombu 5.7 closes the connection twice: the first time fails, since the broker does not answer; the second
        wants to give the fetched messages back, has no address left for that, and raises AttributeError.
        """
        try:
            super().on_connection_error_after_connected(error)
        except AttributeError as failure:
            logger.warning("fetched messages were not given back to the broker that is gone: %s", describe(failure))

    def _guard(self, loop: Callable[..., Any]) -> Callable[..., Any]:
        """Connect anew when something that came from the broker could not be read: it was taken out of its queue."""

        def run(*args: Any) -> Any:
            try:
                return loop(*args)
            except self._failures:
                raise
            except Exception as error:
                logger.error("message_refused: not a message: %s", describe(error))
                raise OSError("the broker sent what is not a message") from error

        return run


def check_task(headers: Any, body: Any) -> None:
    """Raise ValueError or TypeError unless these are the headers and the body of a task, in Celery's protocol 2."""
    for name in ("task", "id"):
        expect(isinstance(headers[name], str), f"the header {name} is a string")
    for name in ("root_id", "parent_id", "group", "expires", "eta", "argsrepr", "kwargsrepr", "shadow", "origin"):
        expect(isinstance(headers.get(name), str | None), f"the header {name} is a string or null")
    expect(isinstance(headers.get("retries"), int | None), "the header retries is a whole number")
    limits = headers.get("timelimit") or [None, None]
    is_pair = isinstance(limits, list) and len(limits) == 2
    expect(is_pair and all(isinstance(limit, int | float | None) for limit in limits), "timelimit is two numbers")
    expect(isinstance(body, list | tuple) and len(body) == 3, "the body is [args, kwargs, embed]")
    args, kwargs, embed = body
    expect(isinstance(args, list | tuple), "args is a list")
    expect(isinstance(kwargs, dict) and isinstance(embed, dict), "kwargs and embed are objects")
    for name in ("callbacks", "errbacks", "chain"):
        tasks = embed.get(name) or []
        expect(isinstance(tasks, list | tuple) and all(isinstance(task, dict) for task in tasks), f"{name} is tasks")
    expect(isinstance(embed.get("chord"), dict | None), "chord is a task")


def expect(is_so: bool, what: str) -> None:
    """Raise ValueError unless it is so."""
    if not is_so:
        raise ValueError(f"expected: {what}")


def describe(error: Exception) -> str:
    """Say in one short line what is wrong."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:SHOWN]
