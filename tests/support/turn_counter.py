"""Link to a server's Unix socket that counts round trips."""

import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qs, quote, urlsplit

from support.listener import Listener


class TurnCounter:
    """Unix socket that passes everything on to a PostgreSQL server; `url` leads through it.

    `turns` is how often a client spoke after the server had: the number of waits for the network.
    """

    def __init__(self, url):
        address = parse_qs(urlsplit(url).query)
        name = f".s.PGSQL.{address['port'][0]}"
        self._target = f"{address['host'][0]}/{name}"
        self._listener = Listener(self._serve, name)
        self.url = url.replace(quote(address["host"][0]), quote(str(self._listener.path.parent)))
        self.turns = 0

    def __enter__(self):
        self._listener.__enter__()
        return self

    def __exit__(self, *_):
        self._listener.__exit__()

    def _serve(self, caller):
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        said_by_server = threading.Event()
        said_by_server.set()
        threading.Thread(target=self._answer, args=(server, caller, said_by_server), daemon=True).start()
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
