"""Time that refreshes of each table take: noted by each process of a pool, read by the main process of its worker.

The processes of a pool are forked from the main process, and share this memory with it. Newer messages count for more:
the weight of a message is halved in HALF_S.
"""

import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterable

Cost = tuple[float, float]  # seconds for each message, and for each row in it

HALF_S = 30.0
SLOTS = 256  # places for the sums of a table and a process. Two on one place take turns.
SUMS = struct.Struct("I7d")
"""Hash of the table, time of the last message, and sums of 1, rows, seconds, rows^2, rows * seconds, late ones."""
MESSAGE_S = 0.002  # seconds for a message without rows, as long as all messages have the same number of rows
PRIOR = 0.01  # weight of that guess beside the messages measured
MAX_GAP_S = 0.5  # a longer time between two messages is an outage
LATE_S, LATE_MESSAGES = 1.0, 4
"""A message is late after this time and that of so many messages. Late ones are as full as they get."""
ended_at = [0.0]  # when the last message of this process ended
_sums = mmap.mmap(-1, SLOTS * SUMS.size)


def note_message(namespace: str, rows: int, due_at: float, began_at: float) -> None:
    """Note that this process has refreshed the rows of a message. Times are of the monotonic clock.

    `due_at`: of its first row. When that was due before this process ended the last message, there was work all the
    time: the pause between the two is a part of the cost, whatever the process has waited for.
    """
    name, now = hash_of(namespace), time.monotonic()
    took_s = now - began_at + (min(MAX_GAP_S, began_at - ended_at[0]) if due_at < ended_at[0] else 0.0)
    ended_at[0] = now
    place = zlib.crc32(os.getpid().to_bytes(8, "big"), name) % SLOTS * SUMS.size
    noted, at, *sums = SUMS.unpack_from(_sums, place)
    if noted != name or not at:  # the first message makes connections: it says nothing about the next
        SUMS.pack_into(_sums, place, name, now, *[0.0] * 6)
        return
    is_late = began_at - due_at > LATE_S + LATE_MESSAGES * took_s
    left, new = 0.5 ** ((now - at) / HALF_S), (1, rows, took_s, rows * rows, rows * took_s, is_late)
    SUMS.pack_into(_sums, place, name, now, *(left * old + one for old, one in zip(sums, new, strict=True)))


def read_costs(namespaces: Iterable[str]) -> dict[str, Cost]:
    """Return the cost of each namespace whose rows this worker has refreshed lately."""
    now, totals = time.monotonic(), {hash_of(each): [0.0] * 6 for each in namespaces}
    for name, at, *sums in SUMS.iter_unpack(_sums[:]):
        if at and name in totals:
            left = 0.5 ** ((now - at) / HALF_S)
            totals[name] = [total + left * one for total, one in zip(totals[name], sums, strict=True)]
    return {each: fit(*totals[hash_of(each)]) for each in namespaces if totals[hash_of(each)][1] > 0}


def fit(messages: float, rows: float, seconds: float, squares: float, products: float, late: float) -> Cost:
    """Fit a straight line to the times of messages by their rows; of both costs, none is below 0.

    When most messages are late, rows cost what they cost in these.
    """
    if 2 * late > messages:
        return 0.0, seconds / rows
    weight = messages * (1 + PRIOR)
    mean_rows, mean_s = rows / weight, (seconds + PRIOR * messages * MESSAGE_S) / weight
    slope = (products / weight - mean_rows * mean_s) / (squares / weight - mean_rows**2)
    row_s = min(max(slope, 0.05 * seconds / rows), seconds / rows)
    return max(0.0, (seconds - row_s * rows) / messages), row_s


def hash_of(namespace: str) -> int:
    """Return the name of a table in the shared memory."""
    return zlib.crc32(namespace.encode())
