"""Own when a process may be told to stop: not between a claim and its send. Must not know what is shielded.

A stop that comes then is carried out right afterwards. What takes longer than PATIENCE_S, such as a server that does
not answer, is interrupted after all.
"""

import signal
from types import FrameType

__all__ = ["Shield"]

PATIENCE_S = 0.4


class Shield:
    """Holds SIGTERM and SIGINT back within its context. Not reentrant; for the main thread."""

    def __init__(self) -> None:
        self._is_up = False
        self._held: int | None = None
        self._handlers: dict[int, signal._HANDLER] = {}

    def install(self) -> None:
        """Take the signals over; what handled them before still does, when the shield is down. Idempotent."""
        if not self._handlers:
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._handlers[signum] = signal.signal(signum, self._handle)
            signal.signal(signal.SIGALRM, self._lose_patience)

    def __enter__(self) -> "Shield":
        self._is_up = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_up = False
        if self._held is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._stop(self._held, None)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_up:
            self._stop(signum, frame)
        elif self._held is None:
            self._held = signum
            # Again and again, in case that handing the rows back does not end either.
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)

    def _lose_patience(self, _signum: int, frame: FrameType | None) -> None:
        if self._is_up and self._held is not None:
            self._stop(self._held, frame)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        handler = self._handlers.get(signum)
        if callable(handler):
            handler(signum, frame)
        raise SystemExit(0)
