"""Link to a server's Unix socket that loses one reply: the call is run, and its connection breaks."""

import socket
import threading
from urllib.parse import quote

from support.listener import Listener


class LossyLink:
    """Unix socket that passes calls on to a Valkey server; `url` is of database 9 behind it."""

    def __init__(self, valkey):
        self._target = valkey.url_for(9).removeprefix("unix://").partition("?")[0]
        self._listener = Listener(self._pass_on, "valkey")
        self.url = f"unix://{quote(str(self._listener.path))}?db=9"
        self._loses = threading.Event()
        self.lost = 0

    def __enter__(self):
        self._listener.__enter__()
        return self

    def __exit__(self, *_):
        self._listener.__exit__()

    def lose_next_reply(self):
        """Break the connection of the next call, after the server has answered it."""
        self._loses.set()

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
