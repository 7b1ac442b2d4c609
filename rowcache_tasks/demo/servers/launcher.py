"""Program that sets user and death signal, then becomes the child.

Run by its path in a bare interpreter (`python -I -S launcher.py PARENT IDENTITY PROGRAM ARG...`), with the standard
library alone. A preexec_fn instead would run Python between fork and exec, which may deadlock in a parent with threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

SAME = "same"
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def wrap(argv: Sequence[str], identity: str = SAME) -> list[str]:
    """Return the argv that runs `argv` as a user and, on Linux, kills it at the death of this process.

    identity: "same", "namespace:UID:GID" (the same user, which the program sees as UID) or "setuid:UID:GID".
    """
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), identity, *argv]


def main(parent: int, identity: str, argv: list[str]) -> None:
    """Replace this process by `argv`."""
    kind, *ids = identity.split(":")
    if kind == "namespace":
        _enter_namespace(*map(int, ids))
    elif kind == "setuid":
        _change_user(*map(int, ids))
    _die_with(parent)  # last: a change of the user clears it
    # A shell starts background jobs with SIGINT ignored, which survives exec.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - its purpose
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit(f"cannot make a user namespace: {os.strerror(ctypes.get_errno())}")
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")  # required before gid_map
    (process / "uid_map").write_text(f"{uid} {outer_uid} 1")
    (process / "gid_map").write_text(f"{gid} {outer_gid} 1")


def _change_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(parent: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"cannot set the parent death signal: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # the parent died before prctl
        sys.exit("the parent process is gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
