"""Warnings that are logged once a minute for each cause, over all processes of a worker."""

import logging
import mmap
import struct
import time
import zlib
from typing import Any

INTERVAL_S = 60.0
SLOTS = 1024  # places for causes. Two causes on one place share its minute.
TIME = struct.Struct("d")
_logged_at = mmap.mmap(-1, SLOTS * TIME.size)
"""Time of the monotonic clock at which each cause was logged last; forked processes of a pool share it."""


def warn_once(logger: logging.Logger, cause: str, message: str, *arguments: object, **options: Any) -> None:
    """Log a warning, unless one of this cause was logged within INTERVAL_S."""
    place = zlib.crc32(cause.encode("utf-8", "replace")) % SLOTS * TIME.size
    now, (logged_at,) = time.monotonic(), TIME.unpack_from(_logged_at, place)
    if not logged_at or now - logged_at >= INTERVAL_S:
        TIME.pack_into(_logged_at, place, now)
        logger.warning(message, *arguments, **options)
