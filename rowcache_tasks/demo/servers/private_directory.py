"""Private temporary directory, short enough for Unix sockets."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from rowcache_tasks.demo.error import DemoError

__all__ = ["PrivateDirectory"]

_SOCKET_PATH_BYTES = 103  # macOS; Linux allows 107
_PREFIX = "rowcache-"
_RANDOM_BYTES = 8


class PrivateDirectory:
    """Directory for this user only; may be made again at the same path after remove()."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The path, also after remove()."""
        if self._path is None:
            raise DemoError("the server has no address before its first start: call start() first")
        return self._path

    def make(self, longest_name: str) -> None:
        """Make it, unless it exists, where a socket of this name has a valid address."""
        if self._path is None:
            base = tempfile.gettempdir()
            if len(os.fsencode(f"{base}/{_PREFIX}/{longest_name}")) + _RANDOM_BYTES > _SOCKET_PATH_BYTES:
                base = "/tmp"  # noqa: S108 - with a random name
            # Unlike with mkdtemp, the path is known before it exists: a signal here leaves no directory behind.
            self._path = Path(base, _PREFIX + secrets.token_hex(_RANDOM_BYTES // 2))
            self._path.mkdir(mode=0o700)
        elif not self._path.exists():
            self._path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove it with all files in it, if it exists."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
