"""Deferral of SIGTERM and SIGINT while a claimed batch is being sent."""

import signal
from types import FrameType

PATIENCE_S = 0.4  # a stop is deferred for so long; then it interrupts the with-block, which may hang on a server


class DeferredSignals:
    """Defers SIGTERM and SIGINT to the end of the with-block. Not reentrant; for the main thread."""

    def __init__(self) -> None:
        self._is_deferring = False
        self._deferred: int | None = None
        self._handlers: dict[int, signal._HANDLER] = {}

    def install(self) -> None:
        """Replace the handlers of the signals; the old ones are called at the end of the with-block. Idempotent."""
        if not self._handlers:
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._handlers[signum] = signal.signal(signum, self._handle)
            signal.signal(signal.SIGALRM, self._lose_patience)

    def __enter__(self) -> "DeferredSignals":
        self._is_deferring = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_deferring = False
        if self._deferred is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._stop(self._deferred, None)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_deferring:
            self._stop(signum, frame)
        elif self._deferred is None:
            self._deferred = signum
            # Repeated, in case that the release of the rows hangs as well.
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, PATIENCE_S)

    def _lose_patience(self, _signum: int, frame: FrameType | None) -> None:
        if self._is_deferring and self._deferred is not None:
            self._stop(self._deferred, frame)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        handler = self._handlers.get(signum)
        if callable(handler):
            handler(signum, frame)
        raise SystemExit(0)
