"""Self-pipe: any thread calls wake(); the selecting thread drains it."""

import socket
from contextlib import suppress


class Waker:
    """A pair of sockets, one of which a thread selects for reading."""

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
