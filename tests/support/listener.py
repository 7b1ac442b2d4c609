"""Listening socket that serves each connection in a thread of its own."""

import contextlib
import socket
import tempfile
import threading
from pathlib import Path


class Listener:
    """Context manager; calls `serve` with each connection.

    It listens on a free `port` of 127.0.0.1, or, with a name, on a Unix socket of that name: `path`.
    """

    def __init__(self, serve, name=None):
        self._serve = serve
        if name is None:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.port = self._socket.getsockname()[1]
        else:
            self._home = tempfile.TemporaryDirectory(prefix="in-", dir="/tmp")  # a path has at most 107 bytes
            self.path = Path(self._home.name, name)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(self.path))
            self._socket.listen()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._socket.close()
        if hasattr(self, "_home"):
            self._home.cleanup()

    def _accept(self):
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()
