"""Own what one tracked connection has brought: rows that may be served, and questions that wait for their answers.

Must not know sockets. One thread, the connection's, answers questions and takes rows away, in the order of the
connection; any thread asks and looks.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import redis

__all__ = ["ABSENT", "PUSHED", "Counts", "Question", "Session"]

ABSENT: Final = b""
"""Stands for "there is no such key": a row is never empty."""

PUSHED: Final = object()
"""Stands for a message that answers nothing."""

Rows = OrderedDict[bytes, bytes]
"""Key -> the bytes of its value, the one not looked at for longest first."""


@dataclass(slots=True)
class Counts:
    """What has happened since the start, in all sessions of a process. Not exact while threads count at once."""

    hits: int = 0
    """Rows found in this process."""
    misses: int = 0
    """Rows asked of the server."""
    invalidations: int = 0
    """Rows taken away because the server said that they have changed."""
    sessions: int = 0
    """Connections that were tracked."""


@dataclass(slots=True)
class Question:
    """Keys whose values are asked for; none of them: only whether the server is there."""

    keys: Sequence[bytes] = ()
    rows: Rows = field(default_factory=OrderedDict)
    """Where the answer goes: what was forgotten since gets nothing that was asked before."""
    future: "Future[list[bytes] | None] | None" = None
    sent_at: float = 0.0


class Session:
    """The rows of one connection. When it is over, all of them are gone, and every question has got its answer: None.

    A row is served while the connection is proven: the server has answered something that was sent not longer than
    max_silence_s ago. What it said before that answer has arrived, too, since a connection keeps the order. So no row
    that is served is older than that, whatever the network or the scheduler of the machine does.
    """

    def __init__(self, max_rows: int, max_silence_s: float, counts: Counts) -> None:
        self.proven_at = monotonic()
        """When the last question was sent that has been answered; by the monotonic clock."""
        self.is_over = False
        self._max_rows = max_rows
        self._max_silence_s = max_silence_s
        self._counts = counts
        self._rows: Rows = OrderedDict()
        self._lock = threading.Lock()
        self._queued: deque[Question] = deque()
        self._sent: deque[Question] = deque()

    @property
    def row_count(self) -> int:
        """How many rows are kept."""
        return len(self._rows)

    @property
    def is_silent(self) -> bool:
        """Whether the server has not proven for too long that it is there."""
        return monotonic() - self.proven_at > self._max_silence_s

    def get(self, key: bytes) -> bytes | None:
        """Give the bytes of a row, ABSENT, or None when the server has to be asked."""
        rows = self._rows
        value = rows.get(key)
        # The clock is looked at last: a process that is frozen before this line serves nothing old when it wakes.
        if value is None or monotonic() - self.proven_at > self._max_silence_s:
            return None
        try:  # noqa: SIM105 - suppress() would double what a hit costs
            rows.move_to_end(key)
        except KeyError:  # taken away in this moment
            pass
        self._counts.hits += 1
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Give what get() gives for each of many, with one look at the clock."""
        rows = self._rows
        values = list(map(rows.get, keys))
        if monotonic() - self.proven_at > self._max_silence_s:  # last, as in get()
            return [None] * len(keys)
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                self._counts.hits += 1
                try:  # noqa: SIM105
                    rows.move_to_end(key)
                except KeyError:
                    pass
        return values

    def ask(self, keys: Sequence[bytes]) -> "Future[list[bytes] | None] | None":
        """Queue a question. None when the session is over, which it is from now on when the server is silent."""
        if self.is_silent:
            self.end()
        future: Future[list[bytes] | None] = Future()
        with self._lock:
            if self.is_over:
                return None
            self._queued.append(Question(keys, self._rows, future))
        self._counts.misses += len(keys)
        return future

    def send(self, with_ping: bool) -> list[Question]:
        """Give the questions to send now, in this order."""
        with self._lock:
            questions = [*self._queued]
            self._queued.clear()
            if with_ping:
                questions.append(Question())
            now = monotonic()
            for question in questions:
                question.sent_at = now
            self._sent.extend(questions)
        return questions

    def answer(self, reply: Any) -> None:
        """Take the reply to the first question that has none: values, PONG, or an error.

        A row goes in here and out in invalidate(), both in the order of the connection: a value that the server has
        called old can neither come in late nor stay. Raises InvalidResponse when the reply belongs to no question.
        """
        with self._lock:
            if self.is_over:
                return
            question = self._sent[0] if self._sent else None
            if question is None or not is_answer(reply, question):
                raise redis.InvalidResponse(f"the server sent {type(reply).__name__} that is no answer")
            self._sent.popleft()
            self.proven_at = question.sent_at
            if question.future is None:
                return
            values = None if isinstance(reply, Exception) else [ABSENT if value is None else value for value in reply]
            if values is not None:
                self._store(question.rows, question.keys, values)
        settle(question.future, values)

    def _store(self, rows: Rows, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        for key, value in zip(keys, values, strict=True):
            rows[key] = value
            rows.move_to_end(key)
            if len(rows) > self._max_rows:
                rows.popitem(last=False)

    def invalidate(self, push: Sequence[Any]) -> object:
        """Take the push message ["invalidate", keys]; instead of the keys, None for all that there are."""
        rows, keys = self._rows, push[1]
        if keys is None:
            self._counts.invalidations += len(rows)
            rows.clear()
            return PUSHED
        for key in keys:
            if rows.pop(key, None) is not None:
                self._counts.invalidations += 1
        return PUSHED

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that are known to have changed. What was asked before is answered, and not kept."""
        with self._lock:
            for question in self._sent:
                question.rows = OrderedDict()
            for key in keys:
                self._rows.pop(key, None)

    def clear(self) -> None:
        """Forget all rows. What was asked before is answered, and not kept."""
        with self._lock:
            self._rows = OrderedDict()

    def end(self) -> None:
        """Forget all rows and answer None to all questions; may be repeated."""
        with self._lock:
            self.is_over = True
            self._rows = OrderedDict()
            questions = [*self._sent, *self._queued]
            self._sent.clear()
            self._queued.clear()
        for question in questions:
            if question.future is not None:
                settle(question.future, None)


def is_answer(reply: Any, question: Question) -> bool:
    """Whether the question can have got this reply. An error answers any: whoever asked sees it when he asks again."""
    if isinstance(reply, redis.ResponseError):
        return True
    if not question.keys:
        return bool(reply == b"PONG")
    return isinstance(reply, list) and len(reply) == len(question.keys)


def settle(future: "Future[list[bytes] | None]", values: list[bytes] | None) -> None:
    """Give the one who waits the values, if somebody still waits."""
    if future.set_running_or_notify_cancel():
        future.set_result(values)
