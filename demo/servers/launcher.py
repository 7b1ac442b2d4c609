"""Program that sets user and death signal, then becomes the child.

    python -I -S launcher.py PARENT USER PROGRAM ARG...

USER may be empty. A preexec_fn instead would run Python between fork and exec, which may deadlock in a parent with
threads.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


def main(parent: int, user: str, argv: list[str]) -> None:
    """Replace this process by `argv`."""
    if user:
        _become(user)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # last: a change of the user clears it
        if os.getppid() != parent:  # the parent died before prctl
            sys.exit("the parent process is gone")
    # A shell starts background jobs with SIGINT ignored, which survives exec.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(argv[0], argv)  # noqa: S606 - its purpose


def _become(user: str) -> None:
    """Change from root to another user, in root's group; on Linux with root's access to files where root has it."""
    libc = ctypes.CDLL(None)
    entry = pwd.getpwnam(user)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        capabilities = [1 << _CAP_DAC_OVERRIDE] * 3  # effective, permitted, inheritable
        libc.capset(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), struct.pack("6I", *capabilities, 0, 0, 0))
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)  # survives exec


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
