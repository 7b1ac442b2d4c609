"""Writes a ZSET of a depot in the serialized form that RESTORE reads.

python -m benchmarks.programs.dump_zset KEY ROWS NOW
"""

import struct
import sys
from collections.abc import Iterable

from benchmarks.depot import DELAY_S, by_due_time, due_in

ZSET_TYPE, FORMAT_VERSION = 5, 11
"""Of the form that Redis has since 7.2, and Valkey."""


def main() -> None:
    """Make all of it, then write it."""
    key, rows, now = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    sys.stdout.buffer.write(dump(key, rows, now))


def dump(key: str, rows: int, now: float) -> bytes:
    """Give the type, how many members, each with its length and its score, the version and a checksum that is none."""
    order: Iterable[int] = range(1, rows + 1)
    if key == "refreshed:":
        order = reversed(by_due_time(rows))  # from the end is how a server reads it fastest
    score = {
        "schedule:": lambda n: now + due_in(n),
        "refreshed:": lambda n: now - DELAY_S + due_in(n),
        "delay:": lambda _: DELAY_S,
        "changed:": lambda _: now - DELAY_S,
    }[key]
    pack = struct.Struct("<d").pack
    parts = bytearray(struct.pack(">BBI", ZSET_TYPE, 0x80, rows))
    for n in order:
        row_id = b"%d" % n
        parts += b"%c%b%b" % (len(row_id), row_id, pack(score(n)))
    return bytes(parts) + struct.pack("<HQ", FORMAT_VERSION, 0)


if __name__ == "__main__":
    main()
