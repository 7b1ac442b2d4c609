"""Clock of a server that runs below libfaketime (Debian: libfaketime, which .ci/run installs)."""

from pathlib import Path

import pytest

LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def faked_clock(environment, clock, ahead_s=0):
    """Let servers that are started now take their time from the file `clock`: it says how many seconds to add.

    `environment` is a MonkeyPatch. Skips the test without the library. The monotonic clock stays as it is.
    """
    if LIBRARY is None:
        pytest.skip("needs libfaketime (Debian: apt install libfaketime)")
    clock.write_text(f"{ahead_s:+d}")
    environment.setenv("LD_PRELOAD", LIBRARY)
    environment.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    environment.setenv("FAKETIME_NO_CACHE", "1")
    for name in ("FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"):  # of later and earlier versions
        environment.setenv(name, "1")
