"""Port of 127.0.0.1 that no other process of the tests takes."""

import os
import socket
from contextlib import closing, suppress

FIRST, COUNT = 10_000, 22_000
"""Below the ports that systems give to outgoing connections."""

kept = []
"""UDP sockets of the ports that were given away."""


def free_port():
    """Return a TCP port that nothing uses, and keep it until this process ends.

    Others see it by the UDP port of the same number: the TCP port is for the server that is started later.
    """
    while True:
        port = FIRST + int.from_bytes(os.urandom(4)) % COUNT
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            kept.append(mark)
            mark.bind(("127.0.0.1", port))
            return port
