"""Checks of received messages: form, types, bounds and printable text.

Every field that a worker or its pool process uses is checked before the message takes a process of the pool.
docs/upstream.md has the reasons.
"""

from typing import Annotated, Any

import msgspec
from celery.app.task import Context
from kombu.message import Message

from rowcache_tasks.celery.defaults import MAX_BODY_BYTES
from rowcache_tasks.celery.kombu.guard import guarded
from rowcache_tasks.errors.text import MAX_TEXT, one_line, shorten

MAX_DEPTH = 50  # levels of nesting. pickle, which hands a task to a process of the pool, fails at some hundred.

Text = Annotated[str, msgspec.Meta(max_length=10_000)] | None
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Limit = Annotated[float, msgspec.Meta(ge=0.1, le=10_000_000)] | None
"""Seconds. A time limit that is over at once kills a process of the pool for each message."""


class Headers(msgspec.Struct):
    """Headers of a task: those of Celery that a worker, its pool process or an event uses."""

    task: Annotated[str, msgspec.Meta(max_length=1000)]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    lang: Text = None
    root_id: Text = None
    parent_id: Text = None
    group: Text = None
    taskset: Text = None
    group_index: Count | None = None
    expires: Text = None
    eta: Text = None
    argsrepr: Text = None
    kwargsrepr: Text = None
    shadow: Text = None
    origin: Text = None
    retries: Count | None = None
    replaced_task_nesting: Count | None = None
    ignore_result: bool | None = None
    utc: bool | None = None
    timelimit: tuple[Limit, Limit] | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    headers: dict[str, Any] | None = None
    meth: Text = None


class Properties(msgspec.Struct):
    """Properties of a message that a worker uses."""

    reply_to: Text = None
    correlation_id: Text = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None


class Embed(msgspec.Struct):
    """The tasks that follow a task."""

    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None


Body = tuple[list[Any], dict[str, Any], Embed]  # arguments, keyword arguments, and the tasks that follow

OLD_BODY = {"args", "kwargs", "callbacks", "errbacks", "chord"}
"""Fields of a body in protocol 1 that are no headers. The other fields of such a body are."""

RESERVED = frozenset(dir(Context)) - frozenset(Headers.__struct_fields__) - frozenset(Properties.__struct_fields__)
"""Names that a header must not have: it would replace a method or a part of the request in the pool process."""


def check_task(message: Any) -> None:
    """Raise an Exception unless a message is a task of protocol 1 or 2 that can run and be logged."""
    if is_deep(message.headers) or is_deep(message.properties):
        raise ValueError("headers are nested too deeply")
    if is_oversized(message):
        raise ValueError(f"its body has {len(message.body):,} bytes: allowed are {MAX_BODY_BYTES:,}")
    payload, headers = message.payload, message.headers
    # A flat batch has a few brackets, and counting them costs little.
    if count_brackets(message.body) > MAX_DEPTH and is_deep(payload):
        raise ValueError("arguments are nested too deeply")
    body = payload
    if isinstance(payload, dict):
        body = (payload.get("args", []), payload.get("kwargs", {}), {name: payload.get(name) for name in OLD_BODY})
        headers = {name: value for name, value in payload.items() if name not in OLD_BODY} | headers
    if reserved := RESERVED & headers.keys():
        raise ValueError(f"header {shorten(min(reserved))} is a part of the request")
    told = msgspec.convert(headers, Headers)
    properties = msgspec.convert(message.properties, Properties)
    _, arguments, _ = msgspec.convert(body, Body)
    fields = (*msgspec.structs.astuple(told), *msgspec.structs.astuple(properties))
    texts = [value for value in fields if isinstance(value, str)]
    if not "".join([*texts, *(told.stamped_headers or ()), *arguments]).isprintable():
        raise ValueError("a header or the name of an argument is not printable")


def is_oversized(message: Any) -> bool:
    """Return whether a task of the package, or a message that names no task, is too long to be decoded."""
    if len(message.body or ()) <= MAX_BODY_BYTES:
        return False
    name = message.headers.get("task") if isinstance(message.headers, dict) else None
    return not isinstance(name, str) or name.startswith("rowcache_tasks.")


def count_brackets(body: Any) -> int:
    """Count the beginnings of lists and objects in a JSON text."""
    return body.count("[") + body.count("{") if isinstance(body, str) else body.count(b"[") + body.count(b"{")


def is_deep(value: object) -> bool:
    """Return whether lists and dictionaries are nested more than MAX_DEPTH levels deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, list | tuple | dict)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True


@guarded({"kombu.message:Message.__init__": "bd56cb3ffa7a"})
class UncompressedMessage(Message):
    """Message of every consumer: not inflated, as kombu does first, and of a printable content type."""

    def __init__(self, *args: Any, headers: Any = None, **fields: Any) -> None:
        wrong = ""
        if isinstance(headers, dict) and headers.get("compression"):
            wrong = "messages with compression are refused"
        for name in ("content_type", "content_encoding"):
            value = fields.get(name)
            if value is not None and not (isinstance(value, str) and len(value) < 100 and value.isprintable()):
                fields[name], wrong = None, f"{name} is {shorten(value)}"
        if wrong:
            self.errors = [(ValueError, ValueError(wrong), None)]
        super().__init__(*args, headers=headers, **fields)  # type: ignore[misc]


def refusing(message: type[Any]) -> type[Any]:
    """Return a transport's class of messages with the checks of UncompressedMessage."""
    return type("Message", (message, UncompressedMessage), {})


def describe(error: Exception) -> str:
    """Return an error in one short line: its text may hold a part of the message."""
    return one_line(f"{type(error).__name__}: {error}", MAX_TEXT)
