"""Own the last steps between fork and exec: who the program runs as, and that it dies with its parent.

Run by its path in a bare interpreter (`python -I -S trampoline.py PARENT IDENTITY PROGRAM ARG...`), so it
knows only the standard library. A preexec_fn would run Python between fork and exec, which can deadlock as
soon as the parent has threads; here there are none.
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
    """Return the argv that runs argv under identity and, on Linux, never longer than this process.

    identity is "same", "namespace:UID:GID" (we stay who we are, but look like UID to the program) or
    "setuid:UID:GID".
    """
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), identity, *argv]


def main(parent: int, identity: str, argv: list[str]) -> None:
    """Become argv; return only by an exception."""
    kind, *ids = identity.split(":")
    if kind == "namespace":
        _enter_namespace(*map(int, ids))
    elif kind == "setuid":
        _change_user(*map(int, ids))
    # Last, because every change of credentials clears it.
    _die_with(parent)
    # A shell starts background jobs with SIGINT ignored, and an ignored signal survives exec.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - that is its purpose
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit(f"cannot make a user namespace: {os.strerror(ctypes.get_errno())}")
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")  # the kernel wants this before gid_map
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
    if os.getppid() != parent:  # it died before prctl
        sys.exit("the parent process is gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
