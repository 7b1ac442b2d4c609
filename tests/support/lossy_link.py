"""Link to a server's Unix socket that loses one reply: the call is run, and its connection breaks."""

import socket
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote


class LossyLink:
    """Unix socket that passes calls on to a Valkey server; `url` is of database 9 behind it."""

    def __init__(self, valkey):
        self._target = valkey.url_for(9).removeprefix("unix://").partition("?")[0]
        self._home = tempfile.TemporaryDirectory(prefix="lossy-", dir="/tmp")  # a socket's path has at most 107 bytes
        path = Path(self._home.name) / "in"
        self.url = f"unix://{quote(str(path))}?db=9"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._loses = threading.Event()
        self.lost = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._home.cleanup()

    def lose_next_reply(self):
        """Break the connection of the next call, after the server has answered it."""
        self._loses.set()

    def _accept(self):
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller):
        with caller, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._target)
            while call := caller.recv(65536):
                server.sendall(call)
                reply = server.recv(65536)
                if self._loses.is_set() and b"EVAL" in call and not reply.startswith(b"-NOSCRIPT"):
                    self._loses.clear()
                    self.lost += 1
                    return
                caller.sendall(reply)
