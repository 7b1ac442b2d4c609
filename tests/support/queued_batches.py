"""Batches of row ids waiting in the queue of a Redis broker."""

import base64
import json

QUEUE = "rowcache.refresh"


def read_batches(broker):
    """Return the row ids of each batch in the queue, in the order in which they start. Removes nothing."""
    return [rows_of(message) for message in reversed(broker.lrange(QUEUE, 0, -1))]


def rows_of(message):
    """Return the row ids of a message of the queue."""
    arguments, _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return arguments[1]
