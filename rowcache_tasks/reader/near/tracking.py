"""Own the thread that holds one tracked connection to the server, and makes a new one when it is lost.

Must not know what is kept of the answers. On the connection the server is told to track (CLIENT TRACKING ON): of each
key that is read on it, it pushes one message when the key changes, expires, is evicted or deleted.
"""

import logging
import random
import selectors
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import redis

from rowcache_tasks.reader.near.session import PUSHED, Counts, Question, Session
from rowcache_tasks.reader.near.waker import Bell

__all__ = ["Tracking"]

logger = logging.getLogger(__name__)

BACKOFF_BASE_S, BACKOFF_BOUND_S = 0.05, 5.0
"""Pauses between connections that fail or are lost at once; one that was held for longer starts anew."""

REFUSED_PAUSE_S = 60.0
"""The pause after a server said no, which it says again until a person changes something."""

PINGS = 4
"""How often the server is asked, within the longest silence, whether it is there."""

MAX_TAKEN = 1000
"""Messages that are taken before something is sent again."""


class Tracking:
    """One thread, and one session at a time. Started at most once; daemon, so that it never keeps a process alive."""

    def __init__(self, make_connection: Callable[[], Any], max_rows: int, max_silence_s: float, counts: Counts) -> None:
        self.session: Session | None = None
        """The session that may be asked; None while there is no tracked connection."""
        self._make_connection = make_connection
        self._make_session = partial(Session, max_rows, max_silence_s, counts)
        self._max_silence_s = max_silence_s
        self._counts = counts
        self._lock = threading.Lock()
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None
        self._connection: Any = None  # redis-py's, whose methods are not all typed
        self._is_stopping = False
        self._complaint = ""

    def start(self) -> None:
        """Start the thread unless it was started before."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._is_stopping:
                self._bell = Bell()
                thread = threading.Thread(target=self._run, args=(self._bell,), name="rowcache-near", daemon=True)
                with suppress(RuntimeError):  # the interpreter is shutting down
                    thread.start()
                self._thread = thread

    def wake(self) -> None:
        """Tell the thread that there is something to do."""
        if self._bell is not None:
            self._bell.ring()

    def stop(self) -> None:
        """End the session and, soon, the thread; waits for nothing."""
        with self._lock:
            self._is_stopping = True
        if (session := self.session) is not None:
            session.end()
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout_s)

    def abandon(self) -> None:
        """In a forked child: close what belongs to the parent's thread, without a word to the server."""
        if self._connection is not None:
            self._connection.disconnect()
        if self._bell is not None:
            self._bell.close()

    def _run(self, bell: Bell) -> None:
        failures = 0
        while not self._is_stopping:
            started = monotonic()
            pause_s = self._track(bell)
            failures = 0 if monotonic() - started > BACKOFF_BOUND_S else failures + 1
            pause_s = pause_s or min(BACKOFF_BOUND_S, BACKOFF_BASE_S * 2**failures)
            self._pause(bell, pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads processes out, hides nothing
        bell.close()

    def _track(self, bell: Bell) -> float:
        """Hold one connection until it is lost; give the seconds of the pause that is due, 0 for the usual one."""
        connection = self._connection = self._make_connection()
        session = self._make_session()
        try:
            self._open(connection, session)
            self.session = session
            self._serve(connection, session, bell)
        except redis.ResponseError as error:
            self._complain(f"the server does not track what is read: {error}")
            return REFUSED_PAUSE_S
        except (redis.RedisError, OSError) as error:
            self._complain(str(error))
        except Exception:
            logger.exception("the near cache failed; rows are read from Redis")
        finally:
            self.session = None
            session.end()
            connection.disconnect()
        return 0.0

    def _open(self, connection: Any, session: Session) -> None:
        connection.connect()
        # As redis-py's own CacheProxyConnection does it: there is no public way.
        connection._parser.set_invalidation_push_handler(session.invalidate)
        connection._parser.set_pubsub_push_handler(lambda _: PUSHED)
        connection.send_command("CLIENT", "TRACKING", "ON", check_health=False)
        session.proven_at = monotonic()
        connection.read_response()
        self._counts.sessions += 1
        self._complaint = ""
        logger.info("the near cache is on")

    def _serve(self, connection: Any, session: Session, bell: Bell) -> None:
        """Send questions, take answers and invalidations, until the connection is lost or not wanted any more."""
        next_ping, is_more, sock = 0.0, False, connection._get_socket()
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(bell, selectors.EVENT_READ)
            while not self._is_stopping:
                is_ping_due = monotonic() >= next_ping
                if is_ping_due:
                    next_ping = monotonic() + self._max_silence_s / PINGS
                send(connection, session.send(with_ping=is_ping_due))
                ready = {key.fileobj for key, _ in selector.select(0 if is_more else max(0.0, next_ping - monotonic()))}
                # Each system call hands the interpreter to threads that compute, so there are few on this way.
                if is_more or sock in ready:
                    is_more = take(connection, session)
                if bell in ready:
                    bell.hush()
                if session.is_silent or (session.is_over and not self._is_stopping):
                    raise redis.TimeoutError(f"the server has not answered for {self._max_silence_s:g} s")

    def _pause(self, bell: Bell, seconds: float) -> None:
        """Sleep, but not beyond stop()."""
        deadline = monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            while not self._is_stopping and (left := deadline - monotonic()) > 0:
                selector.select(left)
                bell.hush()

    def _complain(self, why: str) -> None:
        """Log why rows are read from Redis each time: once, until that is another reason or was mended."""
        if why != self._complaint and not self._is_stopping:
            logger.warning("the near cache is off, rows are read from Redis until it is on again: %s", why)
            self._complaint = why


def send(connection: Any, questions: Sequence[Question]) -> None:
    """Send questions in one piece. MGET for one key, too: of a key of another type it says nil instead of an error."""
    if questions:
        commands = [("MGET", *question.keys) if question.keys else ("PING",) for question in questions]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)


def take(connection: Any, session: Session) -> bool:
    """Take the messages that have arrived, at least one, in their order; return whether there are more of them.

    redis-py calls session.invalidate for each push, and gives what that gave.
    """
    for _ in range(MAX_TAKEN):
        try:
            # Without push_request, redis-py would recurse for each push that follows another one.
            reply = connection.read_response(disconnect_on_error=False, push_request=True)
        except redis.ResponseError as error:
            reply = error
        if reply is not PUSHED:
            session.answer(reply)
        if not connection.can_read():
            return False
    return True
