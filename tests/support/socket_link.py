"""Symbolic link to the directory of a server's Unix socket; cut, it makes the server unreachable."""

import shutil
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit


class SocketLink:
    """Link that clients connect through, so that a test can take one server away from some of them."""

    def __init__(self, directory):
        self._directory = directory
        self._home = Path(tempfile.mkdtemp(prefix="link-", dir="/tmp"))  # a socket's path has at most 107 bytes
        self.path = self._home / "in"
        self.restore()

    def restore(self):
        self.path.symlink_to(self._directory)

    def cut(self):
        """Refuse new connections; open ones stay until the test closes them."""
        self.path.unlink()

    def remove(self):
        shutil.rmtree(self._home)


def link_postgres_socket(url):
    """Return a link to the socket of a PostgreSQL server, and the URL that leads through it."""
    host = parse_qs(urlsplit(url).query)["host"][0]
    link = SocketLink(host)
    return link, url.replace(quote(host), quote(str(link.path)))
