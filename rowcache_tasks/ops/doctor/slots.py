"""Checks of the slots of a cluster: each has a node, and the nodes have about as many."""

from collections.abc import Iterator

from rowcache_tasks.keys import SLOTS
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.schedule.servers import Servers

UNEVEN = 1.5  # times as many slots as another node has


def examine_slots(client: Servers) -> Iterator[Finding]:
    """Count the slots of each node of a cluster; of a list of servers, yield nothing."""
    if not client.is_cluster:
        return
    counts, missing = client.count_slots()
    if missing:
        yield fail(
            f"cluster: {missing:,} of {SLOTS:,} slots have no node: rows of their partitions are neither read nor "
            "refreshed: start the node that had them, or assign them (redis-cli --cluster fix)"
        )
    ranked = counts.most_common()
    (most, highest), (least, lowest) = ranked[0], ranked[-1]
    if highest > UNEVEN * lowest:
        yield warn(
            f"cluster: {most.name} serves {highest:,} slots and {least.name} {lowest:,}, and as many more rows: "
            "move slots (redis-cli --cluster rebalance)"
        )
    elif not missing:
        yield ok(f"cluster: {len(counts)} primaries serve all slots, {lowest:,} or more each")
