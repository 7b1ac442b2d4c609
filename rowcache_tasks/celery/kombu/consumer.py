"""Worker consumer that rejects malformed messages instead of crashing, and outlives its broker.

A program that can write to the broker can put anything into a queue. Celery's own consumer rejects another serializer
and an unknown task. Other malformed messages end the worker, and then the next one, or occupy a pool process for good.
docs/upstream.md has a section for each override.
"""

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer, Mingle

from rowcache_tasks.celery.application import is_package
from rowcache_tasks.celery.kombu.guard import guarded
from rowcache_tasks.celery.kombu.message import check_task, describe
from rowcache_tasks.errors.text import redact

logger = logging.getLogger(__name__)

CELERY = "celery.worker.consumer.consumer"
HIDDEN = ("password", "alternates", "transport_options", "credential_provider")
"""Fields that may hold a password: of other brokers, of Sentinel."""


@guarded(
    {
        f"{CELERY}:Consumer.create_task_handler": "e415cb640401 292c5a681f10",
        f"{CELERY}:Evloop.start": "6d6e5bda6846",
        f"{CELERY}:Consumer.on_decode_error": "e3538c586a7f",
        f"{CELERY}:Consumer.on_unknown_message": "213bd3ee55cb",
        f"{CELERY}:Consumer.on_unknown_task": "35e6cbe56494",
        f"{CELERY}:Consumer.on_invalid_task": "9893e7a4eee3",
        "celery.worker.worker:WorkController._process_task": "4ffb514847bd",
        "celery.worker.worker:WorkController._process_task_sem": "2b2de9af8a8d",
    }
)
class ConsumerRejectsMalformed(Consumer):
    """Goes on after a malformed message, wherever it is noticed."""

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    loop: Callable[..., Any]
    controller: Any
    steps: list[Any]

    def __init__(self, on_task_request: Callable[[Any], Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(on_task_request, *args, **kwargs)
        self._loop, self.loop = self.loop, self._run_loop
        takes_slot = on_task_request == self.controller._process_task_sem
        self._release = self.controller._quick_release if takes_slot else None
        # As soon as a process of the pool is free.
        self.on_task_request = partial(self.controller._quick_acquire, self._execute) if takes_slot else self._execute

    def _execute(self, request: Any) -> None:
        """Hand a task to the pool; when that raises, reject its message and free the process that was taken for it."""
        try:
            self.controller._process_task(request)
        except self._failures:
            raise
        except Exception as error:  # noqa: BLE001 no message may cost a process of the pool
            logger.error("message_refused: the pool cannot take it: %s", describe(error))
            state.task_ready(request)
            if self._release is not None:
                self._release()
            request.reject()

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        """Errors of a connection. kombu counts KeyError among them, but a message can cause it as well."""
        return tuple(
            kind
            for kind in (*self.connection_errors, *self.channel_errors)
            if not issubclass(kind, LookupError | ValueError | TypeError | AttributeError)
        )

    def _run_loop(self, *args: Any) -> Any:
        """Run the event loop; connect anew after a message that kombu cannot read: it is out of its queue by then."""
        try:
            return self._loop(*args)
        except self._failures:
            raise
        except Exception as error:
            logger.error("message_refused: not a message: %s", describe(error))
            raise OSError("the broker sent a malformed message") from error

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return the function that is called with each message: it rejects headers or a body that are not a task's."""
        receive = super().create_task_handler(*args, **kwargs)
        is_strict = is_package(self.app)  # messages for other tasks of the user may have other fields

        def on_task_received(message: Any) -> None:
            try:
                if is_strict or str(message.delivery_info.get("routing_key")).startswith("rowcache."):
                    check_task(message)
                receive(message)
            except self._failures:
                raise
            except Exception as error:  # noqa: BLE001 no message may end the worker
                self._refuse(message, error)

        return on_task_received

    def _refuse(self, message: Any, error: Exception) -> None:
        """Reject a message, with one line. Celery's own lines have all of the message, line breaks included."""
        logger.error("message_refused: not a task: %s", describe(error))
        if not message.acknowledged:
            message.reject_log_error(logger, self.connection_errors)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a message with a body that cannot be decoded, in the mailbox of all processes as well."""
        self._refuse(message, exc)

    def on_unknown_message(self, body: object, message: Any) -> None:
        """Refuse a message without the name of a task."""
        self._refuse(message, TypeError("it names no task"))

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:
        """Refuse a task that this application does not have, or that Celery calls invalid."""
        self._refuse(message, exc)

    on_invalid_task = on_unknown_task


@guarded({f"{CELERY}:Consumer.on_connection_error_after_connected": "7b7eaba8d0d8 4f84dbfff329"})
class ReconnectSurvivesClose(ConsumerRejectsMalformed):
    """Goes on when a lost connection cannot give fetched messages back.

    kombu 5.7 closes the connection twice. The first time fails, since the broker does not answer. The second time has
    no address left to give the fetched messages back to, and raises AttributeError, which ends the worker.
    """

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Close a lost connection, whatever kombu raises; without Celery's warning of a change in its version 6.

        Mingle, which waits a second for other workers, runs at the start only: a lost connection loses no state.
        """
        self.steps = [step for step in self.steps if not isinstance(step, Mingle)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CPendingDeprecationWarning)
                super().on_connection_error_after_connected(error)
        except AttributeError as failure:
            logger.warning("fetched messages were not given back to the broker that is gone: %s", describe(failure))


@guarded({"celery.bootsteps:Blueprint.info": "83ba57f32851"})
class BlueprintHidesPasswords(Consumer.Blueprint):  # type: ignore[valid-type,misc]  # the stubs have it as a variable
    """Leaves passwords out of `inspect stats`, and so out of Flower."""

    def info(self, parent: Any) -> dict[str, Any]:
        """Return the parts of the consumer. Celery hides a password only where it is not in the place of a host."""
        found: dict[str, Any] = super().info(parent)
        broker = found.get("broker")
        if isinstance(broker, dict):
            broker = {name: value for name, value in broker.items() if name not in HIDDEN}
            found["broker"] = broker | {"hostname": redact(str(broker.get("hostname")))}
        return found


class WorkerConsumer(ReconnectSurvivesClose):
    """The consumer of every worker of the package."""

    Blueprint = BlueprintHidesPasswords
