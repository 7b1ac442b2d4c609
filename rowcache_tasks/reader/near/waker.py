"""Own what wakes a thread that waits for sockets. Must not know what it is woken for."""

import socket
from contextlib import suppress

__all__ = ["Bell"]


class Bell:
    """Any thread rings; one thread selects it for reading, and hushes it when it is awake."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        for end in (self._inner, self._outer):
            end.setblocking(False)

    def fileno(self) -> int:
        """Give what a selector takes."""
        return self._inner.fileno()

    def ring(self) -> None:
        """Wake the thread, now or when it waits next."""
        with suppress(OSError):  # full, so that it wakes anyway; or closed
            self._outer.send(b"\0")

    def hush(self) -> None:
        """Forget how often it was rung."""
        with suppress(BlockingIOError):
            self._inner.recv(4096)

    def close(self) -> None:
        """Close it; ringing does nothing any more."""
        self._inner.close()
        self._outer.close()
