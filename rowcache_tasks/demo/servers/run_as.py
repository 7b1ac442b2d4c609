"""User that a server runs as; PostgreSQL refuses root."""

import functools
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.demo.servers import launcher

__all__ = ["RunAs", "find_ordinary_user"]


@dataclass(frozen=True)
class RunAs:
    """User to run as.

    "same": the user of this process. "namespace": the same, but the program sees `uid` in a user namespace of its own,
    with our access to files. "setuid": really `uid`, with only the access of that user.
    """

    kind: Literal["same", "namespace", "setuid"] = "same"
    uid: int = 0
    gid: int = 0

    @property
    def identity(self) -> str:
        """The user in the form of the launcher."""
        return launcher.SAME if self.kind == "same" else f"{self.kind}:{self.uid}:{self.gid}"

    def can_run(self, program: Path) -> bool:
        """Return whether `program --version` works as this user."""
        argv = launcher.wrap([str(program), "--version"], self.identity)
        return subprocess.run(argv, capture_output=True, cwd="/", check=False).returncode == 0  # noqa: S603

    def take(self, directory: Path) -> None:
        """Make this user the owner of a directory; raises DemoError if the user cannot enter it."""
        if self.kind == "setuid":
            closed = self.find_closed_parent(directory)
            if closed:
                raise DemoError(
                    f"PostgreSQL runs as uid {self.uid}, which may not enter {closed} to reach {directory}: "
                    "give another directory (or TMPDIR) or run as an ordinary user"
                )
            os.chown(directory, self.uid, self.gid)

    def find_closed_parent(self, path: Path) -> Path | None:
        """Return the outermost parent directory of `path` that `uid` may not enter."""
        for parent in reversed(path.resolve().parents):
            status = parent.stat()
            bit = 0o100 if status.st_uid == self.uid else 0o010 if status.st_gid == self.gid else 0o001
            if not status.st_mode & bit:
                return parent
        return None


@functools.cache
def find_ordinary_user(program: Path) -> RunAs:
    """Return a user that can run the program and is not root to itself; raises DemoError.

    An ordinary user stays the same. Root becomes nobody in a user namespace, which keeps its access to files, or, where
    the kernel forbids that as in most containers, really nobody.
    """
    if os.geteuid() != 0:
        return RunAs()
    try:
        nobody = pwd.getpwnam("nobody")  # initdb looks its own name up in the password file
    except KeyError:
        raise DemoError(
            f"{program.name} refuses root and there is no user nobody to run it as: run as an ordinary user"
        ) from None
    ids = nobody.pw_uid, nobody.pw_gid
    for user in (RunAs("namespace", *ids), RunAs("setuid", *ids)):
        if user.can_run(program):
            return user
    closed = RunAs("setuid", *ids).find_closed_parent(program)
    found = f"nobody may not enter {closed}" if closed else "it does not start as nobody"
    raise DemoError(
        f"{program.name} refuses root, does not start in a user namespace either, and {found}: "
        "run as an ordinary user or install the package outside private directories"
    )
