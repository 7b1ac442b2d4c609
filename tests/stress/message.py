"""Decode the batches that wait at a broker on Redis."""

import base64
import json

QUEUE = "rowcache.refresh"


def read_batches(broker):
    """Give the row ids of each batch in the queue, the one that is started next first. Removes nothing."""
    return [rows_of(message) for message in reversed(broker.lrange(QUEUE, 0, -1))]


def rows_of(message):
    """Give the row ids of a message as it lies in the queue."""
    arguments, _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return arguments[1]
