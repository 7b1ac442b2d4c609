"""Links to the servers that hold replies back until nobody speaks any more."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from support.listener import Listener

PAUSE_S = 0.03
"""Silence after which a client counts as waiting; longer than the work between two commands."""


class HeldReplies:
    """Unix sockets that pass everything on to the sockets of servers; `paths` lead through them, in the same order.

    While `is_on`, replies are held back until neither a client nor a server has spoken for PAUSE_S. Then all clients
    wait, and all replies are passed on at once: that is one of `round_trips`.
    """

    def __init__(self, *targets: Path) -> None:
        self._listeners = [Listener(self._serve_from(target), target.name) for target in targets]
        self.paths = [listener.path for listener in self._listeners]
        self.is_on = False
        self.round_trips = 0
        self._held: list[tuple[socket.socket, bytes]] = []
        self._spoken_at = 0.0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for listener in self._listeners:
            self._stack.enter_context(listener)
        threading.Thread(target=self._release, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._stack.close()

    def _serve_from(self, target: Path) -> Callable[[socket.socket], None]:
        def serve(caller: socket.socket) -> None:
            with socket.socket(socket.AF_UNIX) as server, suppress(OSError):
                server.connect(str(target))
                threading.Thread(target=self._answer, args=(server, caller), daemon=True).start()
                while words := caller.recv(1 << 16):
                    self._spoken_at = time.monotonic()
                    server.sendall(words)

        return serve

    def _answer(self, server: socket.socket, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            while words := server.recv(1 << 20):
                with self._lock:
                    self._spoken_at = time.monotonic()
                    self._held.append((caller, words))
                if not self.is_on:
                    self._pass_on()

    def _release(self) -> None:
        while not self._is_over.wait(0.001):
            if self._held and time.monotonic() > self._spoken_at + PAUSE_S:
                self.round_trips += self._pass_on()

    def _pass_on(self) -> bool:
        """Pass on what is held; return whether there was anything."""
        with self._lock:
            held, self._held = self._held, []
            for caller, words in held:
                with suppress(OSError):
                    caller.sendall(words)
        return bool(held)
