"""Thread with one tracked connection, replaced when it is lost."""

import logging
import random
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import redis

from rowcache_tasks.reader.near.session import PUSHED, Counters, PendingFetch, TrackingSession
from rowcache_tasks.schedule.role import login_errors, role_of

logger = logging.getLogger(__name__)

BACKOFF_BASE_S, BACKOFF_BOUND_S = 0.05, 5.0  # pauses after lost connections; a longer connection resets them

REFUSED_PAUSE_S = 60.0  # the pause after a refusal, which lasts until a person changes the server

QUESTIONS = 4  # HELLOs within the longest silence: each proves the server alive, and shows its role

PROBE_S = 2.0  # time on a replica after which a new connection shows whether the address leads to the primary now

MAX_TAKEN = 1000  # messages taken before something is sent again


class Waker:
    """Self-pipe: any thread calls wake(); the selecting thread drains it."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        for end in (self._inner, self._outer):
            end.setblocking(False)

    def fileno(self) -> int:
        """Return the file descriptor for a selector."""
        return self._inner.fileno()

    def wake(self) -> None:
        """Wake the thread, now or at its next select; nothing once it is closed."""
        with suppress(OSError):  # full, so that the thread wakes anyway; or closed
            self._outer.send(b"\0")

    def drain(self) -> None:
        """Forget all calls of wake() so far."""
        with suppress(BlockingIOError):
            self._inner.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._inner.close()
        self._outer.close()


class TrackingThread:
    """One thread, and one session at a time. Started at most once; daemon, so that it never keeps a process alive."""

    def __init__(
        self, make_connection: Callable[[], Any], max_rows: int, max_silence_s: float, counters: Counters, parts: int
    ) -> None:
        self._make_connection = make_connection
        self._make_session = partial(TrackingSession, max_rows, max_silence_s, counters, parts)
        self.session = self._make_session()  # over while there is no tracked connection
        self.session.end()
        self._max_silence_s = max_silence_s
        self._counters = counters
        self._lock = threading.Lock()
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._connection: Any = None  # redis-py's, whose methods are not all typed
        self._stopping = threading.Event()
        self._warned_of = ""

    def start(self) -> None:
        """Start the thread unless it was started before."""
        if self._thread is not None or sys.is_finalizing():  # a start would hang in Python 3.11
            return
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._waker = Waker()
                thread = threading.Thread(target=self._run, args=(self._waker,), name="rowcache-near", daemon=True)
                with suppress(RuntimeError):  # the interpreter is shutting down
                    thread.start()
                self._thread = thread

    def wake(self) -> None:
        """Make the thread look for new fetches."""
        if self._waker is not None:
            self._waker.wake()

    def stop(self) -> None:
        """End the session and, soon, the thread; without waiting."""
        with self._lock:
            self._stopping.set()
        self.session.end()
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(timeout_s)

    def abandon(self) -> None:
        """In a forked child: close the sockets of the parent's thread, without a message to the server."""
        if self._connection is not None:
            self._connection.disconnect()
        if self._waker is not None:
            self._waker.close()

    def _run(self, waker: Waker) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = monotonic()
            pause_s = self._track(waker)
            failures = 0 if monotonic() - started > BACKOFF_BOUND_S else failures + 1
            pause_s = pause_s or min(BACKOFF_BOUND_S, BACKOFF_BASE_S * 2**failures)
            self._stopping.wait(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads processes out, hides nothing
        waker.close()

    def _track(self, waker: Waker) -> float:
        """Hold one connection until it is lost; return the seconds to pause, 0 for the usual backoff."""
        connection = self._connection = self._make_connection()
        session = self._make_session()
        try:
            self._open(connection, session)
            self.session = session
            self._serve(connection, session, waker)
        except redis.ResponseError as error:
            self._warn(f"the server does not track what is read: {error}")
            return REFUSED_PAUSE_S
        except (redis.RedisError, OSError) as error:
            self._warn(str(error))
        except Exception:
            logger.exception("the near cache failed; rows are read from Redis")
        finally:
            session.end()
            connection.disconnect()
        return 0.0

    def _open(self, connection: Any, session: TrackingSession) -> None:
        with login_errors():
            connection.connect()
        # As redis-py's own CacheProxyConnection does it: there is no public way.
        connection._parser.set_invalidation_push_handler(session.invalidate)
        connection._parser.set_pubsub_push_handler(lambda _: PUSHED)
        connection.send_command("CLIENT", "TRACKING", "ON", check_health=False)
        session.proven_at = monotonic()
        connection.read_response()
        connection.send_command("PING", check_health=False)  # refused while the server loads its data: TRACKING is not
        with suppress(redis.exceptions.NoPermissionError):
            connection.read_response()
        self._counters.sessions += 1
        self._warned_of = ""
        logger.info("the near cache is on")

    def _serve(self, connection: Any, session: TrackingSession, waker: Waker) -> None:
        """Send fetches, take replies and invalidations, until the connection is lost or stopped."""
        next_hello, is_more, sock = 0.0, False, connection._sock
        next_probe = monotonic() + PROBE_S
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(waker, selectors.EVENT_READ)
            while not self._stopping.is_set():
                is_hello_due = monotonic() >= next_hello
                if is_hello_due:
                    next_hello = monotonic() + self._max_silence_s / QUESTIONS
                send(connection, session.send(with_hello=is_hello_due))
                wait_s = 0 if is_more else max(0.0, next_hello - monotonic())
                ready = {key.fileobj for key, _ in selector.select(wait_s)}
                # Each system call hands the interpreter to threads that compute: there are few on this way.
                if is_more or sock in ready:
                    is_more = take(connection, session)
                if waker in ready:
                    waker.drain()
                if session.role == "replica" and monotonic() >= next_probe:
                    next_probe = monotonic() + PROBE_S
                    self._probe()
                if session.is_silent or (session.is_over and not self._stopping.is_set()):
                    raise redis.TimeoutError(f"the server has not answered for {self._max_silence_s:g} s")

    def _probe(self) -> None:
        """Raise ConnectionError when a new connection leads to the primary."""
        connection = self._make_connection()
        try:
            with login_errors():
                connection.connect()
            connection.send_command("HELLO", check_health=False)
            role = role_of(connection.read_response())
        except (redis.RedisError, OSError):
            return  # a replica is better than nothing
        finally:
            connection.disconnect()
        if role == "master":
            raise redis.ConnectionError("the server is a replica, and its address leads to the primary again")

    def _warn(self, reason: str) -> None:
        """Log why rows are read from Redis: once, until the reason changes or the connection is back."""
        if reason != self._warned_of and not self._stopping.is_set():
            logger.warning("the near cache is off, rows are read from Redis until it is on again: %s", reason)
            self._warned_of = reason


def send(connection: Any, fetches: Sequence[PendingFetch]) -> None:
    """Send fetches in one piece. MGET for one key, too: for a key of another type it returns nil, not an error."""
    if fetches:
        commands = [("MGET", *fetch.keys) if fetch.keys else ("HELLO",) for fetch in fetches]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)


def take(connection: Any, session: TrackingSession) -> bool:
    """Take the messages that have arrived, at least one, in their order; return whether there are more.

    redis-py calls session.invalidate for each push, and returns its result.
    """
    for _ in range(MAX_TAKEN):
        try:
            # Without push_request, redis-py would recurse for each push that follows another one.
            reply = connection.read_response(disconnect_on_error=False, push_request=True)
        except redis.ResponseError as error:
            reply = error
        if reply is not PUSHED:
            session.take(reply)
        if not connection.can_read():
            return False
    return True
