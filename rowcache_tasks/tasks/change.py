"""Base of the tasks that change a schedule: checked and stamped when enqueued, kept until applied."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from inspect import BoundArguments, signature
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, cast

import redis
from celery import current_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from rowcache_tasks.celery.application import PackageTask, add_task
from rowcache_tasks.celery.defaults import MAX_BODY_BYTES
from rowcache_tasks.celery.outage import Outage, PutBackError
from rowcache_tasks.celery.process import Runtime, current_runtime, runtime_of
from rowcache_tasks.errors import ArgumentError, RowCacheError
from rowcache_tasks.schedule import arguments as argument
from rowcache_tasks.schedule.note import note_change
from rowcache_tasks.schedule.position import parse_position
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.trace import current_headers

if TYPE_CHECKING:
    from celery.canvas import Signature
    from celery.result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")

PARSERS: dict[str, Callable[[Any], Any]] = {
    "row_id": argument.parse_row_id,
    "row_ids": argument.parse_row_ids,
    "delay": argument.parse_delay,
    "delays": argument.parse_delays,
    "stamp": argument.parse_stamp,
    "sample": argument.parse_sample,
    "position": parse_position,
}
"""Name of an argument of a task -> its check."""

FEW_ROWS = 700  # fit into a message whatever their ids are
MAX_ROWS_BYTES = MAX_BODY_BYTES - 100_000

PROGRESS_INTERVAL_S = 0.5

LASTING_ERRORS = ("WRONGTYPE", "attempt to")
"""Errors that no waiting mends: a key of another type, made by another program; a mistake in a script."""

RETRY_PAUSE_S = 1.0  # pause between two tries of a change that Redis cannot take

outage = Outage()  # of all processes of a worker


class ScheduleChange(PackageTask, Generic[P, R]):
    """A task that changes the schedule: checked and stamped when enqueued, kept when Redis is away or a worker dies.

    It may run twice without harm: the second run carries the same stamp.
    """

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    throws = (RowCacheError,)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> "AsyncResult[R]":
        """Send the task: apply_async without options."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, *rest: Any, **options: Any
    ) -> "AsyncResult[R]":
        """Check the arguments, write keys as row ids and delays as seconds, add the time, send.

        Raises ArgumentError; redis.RedisError when Redis is away.
        """
        bound = self.parse(args or (), kwargs or {})
        bound.arguments["stamp"] = bound.arguments.get("stamp") or now_stamp(runtime_of(self.app))
        return super().apply_async(bound.args, bound.kwargs, *rest, **options)

    def signature(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, *rest: Any, **options: Any
    ) -> "Signature[R]":
        """Make a signature. Keys are row ids in it, so that the JSON of a chain keeps those of several columns."""
        arguments = {name: argument.plain(value) for name, value in (kwargs or {}).items()}
        return super().signature(tuple(map(argument.plain, args or ())), arguments, *rest, **options)

    def s(self, *args: Any, **kwargs: Any) -> "Signature[R]":
        """Make a signature; in a chain, its first argument is the result of the task before it."""
        return self.signature(args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> "Signature[R]":
        """Make a signature with all arguments. Raises ArgumentError."""
        bound = self.check(args, kwargs)
        return self.signature(bound.args, bound.kwargs, immutable=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check the arguments again, and run: any program may send a message."""
        bound = self.parse(args, kwargs)
        result: R = self.run(*bound.args, **bound.kwargs)
        return result

    def parse(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundArguments:
        """Return the arguments, checked and as a message has them. Raises ArgumentError."""
        bound = self.check(args, kwargs)
        table = runtime_of(self.app).settings.table(bound.arguments["table"])
        if "query" in bound.arguments:
            table.query(bound.arguments["query"])
        return bound

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundArguments:
        """Do the same without the settings, which a signature at the top of a module must not need."""
        try:
            bound = signature(self.run).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.run.__name__}: {error}") from error
        arguments = bound.arguments
        arguments.update({name: PARSERS[name](value) for name, value in arguments.items() if name in PARSERS})
        rows = arguments.get("row_ids") or arguments.get("delays") or ()
        if len(rows) > FEW_ROWS and (size := len(json.dumps(rows))) > MAX_ROWS_BYTES:
            raise ArgumentError(
                f"{len(rows):,} rows take {size:,} bytes of a message: send them in parts of up to {MAX_ROWS_BYTES:,}"
            )
        return bound


def change(function: Callable[P, R]) -> ScheduleChange[P, R]:
    """Make a function a task that changes the schedule."""
    name = f"rowcache_tasks.tasks.{function.__name__}"
    return cast("ScheduleChange[P, R]", add_task(name, base=ScheduleChange)(function))


def progress(form: str) -> Callable[..., None]:
    """Return a function that shows numbers in `form` as the state PROGRESS of the task that runs, twice a second."""
    shown_at = 0.0

    def report(*numbers: int) -> None:
        nonlocal shown_at
        is_shown = isinstance(current_task, ScheduleChange) and not current_task.request.is_eager
        if is_shown and time.monotonic() - shown_at >= PROGRESS_INTERVAL_S:
            shown_at = time.monotonic()
            current_task.send_event("task-progress", result=form.format(*numbers))

    return report


@contextmanager
def changing(table: str, stamp: str = "") -> Iterator[Schedule]:
    """Note the change if it has a stamp, and yield the schedule of the table; put the task back if that fails.

    Redis that is away, full, or a replica after a failover, a mistake of a library: all of that passes. Only wrong
    arguments, an error of the database, a time limit of the caller, and LASTING_ERRORS fail the task.
    """
    try:
        schedule = current_runtime().schedule(table)
        if stamp and current_task:
            request = current_task.request
            facts = {
                "change": current_task.name,
                "task": request.id,
                "sender": request.origin,
                "worker": request.hostname,
                **current_headers(),
            }
            note_change(current_runtime().client, schedule.table, stamp, facts)
        yield schedule
        outage.end(change_id())
    except (RowCacheError, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        if isinstance(error, redis.ResponseError) and any(words in str(error) for words in LASTING_ERRORS):
            raise
        outage.begin(change_id(), error)
        time.sleep(RETRY_PAUSE_S)
        put_back(current_task, str(error))


def change_id() -> str:
    """Return the id of the task that runs, which a copy of its message has as well."""
    return str(current_task.request.id) if current_task else ""


def put_back(task: Any, reason: str) -> NoReturn:
    """Return the message of the running task to its queue: raises PutBackError; after a confirmed copy, Ignore.

    RabbitMQ drops a message of a quorum queue that was delivered 20 times (4.x), or as often as a policy allows.
    """
    is_confirmed = task and task.app.conf.broker_transport_options.get("confirm_publish") and not task.request.is_eager
    if is_confirmed and task.app.connection_for_write().transport.driver_type == "amqp":
        with suppress(OperationalError):
            task.signature_from_request().apply_async()
            raise Ignore from None
    raise PutBackError(reason, requeue=True) from None


def now_stamp(runtime: Runtime | None = None) -> str:
    """Read the clock of Redis: the same for every application, whatever its own clock says."""
    runtime = runtime or current_runtime()
    return runtime.stamps.stamp(runtime.client.time())
