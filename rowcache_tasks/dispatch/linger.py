"""Own how long a dispatcher waits for a fuller batch after one that was not full."""

__all__ = ["LINGER_S", "linger_s"]

LINGER_S = 0.002
"""After a batch that was not full, rows that become due meanwhile share the next one instead of a message each.

Once more so long for each batch that no worker has started yet: when workers do not keep up, another small batch would
only make the queue longer, and a large one costs hardly more.
"""


def linger_s(behind: int, longest_s: float) -> float:
    """Give how long to wait after a batch that was not full, with so many batches before it that nobody has started."""
    return min(longest_s, LINGER_S * (1 + behind))
