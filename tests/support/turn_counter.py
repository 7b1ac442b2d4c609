"""Link to a server's Unix socket that counts round trips."""

import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit


class TurnCounter:
    """Unix socket that passes everything on to a PostgreSQL server; `url` leads through it.

    `turns` is how often a client spoke after the server had: the number of waits for the network.
    """

    def __init__(self, url):
        address = parse_qs(urlsplit(url).query)
        name = f".s.PGSQL.{address['port'][0]}"
        self._target = f"{address['host'][0]}/{name}"
        self._home = tempfile.TemporaryDirectory(prefix="turns-", dir="/tmp")  # a socket's path has at most 107 bytes
        self.url = url.replace(quote(address["host"][0]), quote(self._home.name))
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(Path(self._home.name, name)))
        self._server.listen()
        self.turns = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._home.cleanup()

    def _accept(self):
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            said_by_server = threading.Event()
            said_by_server.set()
            threading.Thread(target=self._ask, args=(caller, server, said_by_server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, caller, said_by_server), daemon=True).start()

    def _ask(self, caller, server, said_by_server):
        with server, suppress(OSError):
            while words := caller.recv(65536):
                self.turns += said_by_server.is_set()
                said_by_server.clear()
                server.sendall(words)

    def _answer(self, server, caller, said_by_server):
        with caller, suppress(OSError):
            while words := server.recv(1 << 20):
                said_by_server.set()
                caller.sendall(words)
