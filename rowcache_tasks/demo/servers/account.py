"""Own whom a server runs as, because PostgreSQL refuses root; knows nothing of PostgreSQL itself."""

import functools
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rowcache_tasks.demo.servers import trampoline
from rowcache_tasks.demo.servers.error import EmbeddedError


@dataclass(frozen=True)
class Account:
    """A user to run as.

    "same" is the user of this process; "namespace" too, but the program sees uid in a user namespace of its
    own and keeps our access to files; "setuid" is really uid, with that user's access only.
    """

    kind: Literal["same", "namespace", "setuid"] = "same"
    uid: int = 0
    gid: int = 0

    @property
    def identity(self) -> str:
        """The account as the trampoline reads it."""
        return trampoline.SAME if self.kind == "same" else f"{self.kind}:{self.uid}:{self.gid}"

    def can_run(self, program: Path) -> bool:
        """Say whether the program starts under this account, by running it with --version."""
        argv = trampoline.wrap([str(program), "--version"], self.identity)
        return subprocess.run(argv, capture_output=True, cwd="/", check=False).returncode == 0  # noqa: S603

    def own(self, directory: Path) -> None:
        """Make the directory the account's own; raise EmbeddedError when the account cannot get there."""
        if self.kind == "setuid":
            barrier = self.barrier(directory)
            if barrier:
                raise EmbeddedError(
                    f"PostgreSQL runs as uid {self.uid}, which may not enter {barrier} to reach {directory}: "
                    "give another directory (or TMPDIR) or run as an ordinary user"
                )
            os.chown(directory, self.uid, self.gid)

    def barrier(self, path: Path) -> Path | None:
        """Return the outermost parent directory of path that this account's uid may not enter."""
        for parent in reversed(path.resolve().parents):
            status = parent.stat()
            if status.st_uid == self.uid:
                bit = 0o100
            elif status.st_gid == self.gid:
                bit = 0o010
            else:
                bit = 0o001
            if not status.st_mode & bit:
                return parent
        return None


@functools.cache
def unprivileged(program: Path) -> Account:
    """Return an account that is not root, to itself at least, and can run the program.

    An ordinary user is one already. Root looks like nobody in a user namespace where the kernel allows that
    (most containers forbid it), which keeps a private home or virtual environment readable; else it becomes
    nobody. Raises EmbeddedError when neither works.
    """
    if os.geteuid() != 0:
        return Account()
    try:
        # An entry of the password file: initdb looks its own name up.
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            f"{program.name} refuses root and there is no user nobody to run it as: run as an ordinary user"
        ) from None
    ids = nobody.pw_uid, nobody.pw_gid
    for account in (Account("namespace", *ids), Account("setuid", *ids)):
        if account.can_run(program):
            return account
    barrier = Account("setuid", *ids).barrier(program)
    found = f"nobody may not enter {barrier}" if barrier else "it does not start as nobody"
    raise EmbeddedError(
        f"{program.name} refuses root, does not start in a user namespace either, and {found}: "
        "run as an ordinary user or install the package outside private directories"
    )
