"""Link to a server's Unix socket that holds all replies back until the client has sent its calls."""

import socket
import threading
from contextlib import suppress
from urllib.parse import quote

from support.listener import Listener


class HoldingLink:
    """Unix socket that passes calls on to a Valkey server; `url` is of database 9 behind it.

    From `hold` on, replies wait until so many script calls were sent: a client that reads one before gets no answer.
    `hold(0)` lets all go on.
    """

    def __init__(self, valkey):
        self._target = valkey.url_for(9).removeprefix("unix://").partition("?")[0]
        self._listener = Listener(self._serve, "valkey")
        self.url = f"unix://{quote(str(self._listener.path))}?db=9"
        self._calls = self._wanted = 0
        self._flows = threading.Event()
        self._flows.set()

    def __enter__(self):
        self._listener.__enter__()
        return self

    def __exit__(self, *_):
        self._listener.__exit__()

    def hold(self, calls):
        self._calls, self._wanted = 0, calls
        if calls:
            self._flows.clear()
        else:
            self._flows.set()

    def _serve(self, caller):
        with socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self._target)
            threading.Thread(target=self._answer, args=(server, caller), daemon=True).start()
            tail = b""
            while words := caller.recv(65536):
                self._calls += (tail + words).count(b"EVALSHA")
                tail = words[-6:]  # a part of the word at most
                if self._calls >= self._wanted:
                    self._flows.set()
                server.sendall(words)

    def _answer(self, server, caller):
        with caller, suppress(OSError):
            while words := server.recv(1 << 20):
                self._flows.wait(30)
                caller.sendall(words)
