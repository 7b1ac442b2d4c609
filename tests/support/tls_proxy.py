"""TLS server in front of a Unix socket, because the Valkey of the wheel is built without TLS."""

import contextlib
import socket
import ssl
import threading

from support.listener import Listener

CHUNK = 65_536


class TlsProxy:
    """Terminates TLS on 127.0.0.1 and forwards the bytes; a close on one side closes the other."""

    def __init__(self, target, certificate):
        """`target`: path of a Unix socket; `certificate`: issued by trustme."""
        self._target = str(target)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._listener = Listener(self._serve)
        self.port = self._listener.port
        self.handshakes = 0
        self.refusals = []

    def __enter__(self):
        self._listener.__enter__()
        return self

    def __exit__(self, *_):
        self._listener.__exit__()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secure = self._context.wrap_socket(connection, server_side=True)
        except OSError as error:
            self.refusals.append(str(error))
            connection.close()
            return
        self.handshakes += 1
        server = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            server.connect(self._target)
            threading.Thread(target=forward, args=(server, secure), daemon=True).start()
            forward(secure, server)
        secure.close()
        server.close()


def forward(source, target):
    """Copy until one side closes."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
