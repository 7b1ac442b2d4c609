"""Own the private temporary directory of a server, short enough for Unix sockets."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from rowcache_tasks.demo.servers.error import EmbeddedError

_SOCKET_PATH_BYTES = 103  # of macOS; Linux allows 107
_PREFIX = "rowcache-"
_RANDOM_BYTES = 8


class PrivateDirectory:
    """A directory that only this user may enter; made, removed and made again at the same path."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """Where it is, or was before remove()."""
        if self._path is None:
            raise EmbeddedError("the server has no address before its first start: call start() first")
        return self._path

    def make(self, longest_name: str) -> None:
        """Make it, unless it is there, where a socket of longest_name has a valid address."""
        if self._path is None:
            base = tempfile.gettempdir()
            address = os.fsencode(f"{base}/{_PREFIX}/{longest_name}")
            if len(address) + _RANDOM_BYTES > _SOCKET_PATH_BYTES:
                base = "/tmp"  # noqa: S108 - with a name that nobody can guess
            # Known before it exists, unlike what mkdtemp makes: a signal at this moment must not leave it behind.
            self._path = Path(base, _PREFIX + secrets.token_hex(_RANDOM_BYTES // 2))
            self._path.mkdir(mode=0o700)
        elif not self._path.exists():
            self._path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove it with everything in it; does nothing when it is not there."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
