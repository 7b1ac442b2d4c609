"""Load of tables: their demand, counted by score and by rank."""

import random

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.config.table import Adaptive
from rowcache_tasks.schedule.load import read_demands

TABLE = Table("inv", "inventory")


def put(client, delays, key="delay:"):
    client.zadd(key, {"dropped": 0, "too": -1} | {str(n): delay for n, delay in enumerate(delays)})


@pytest.mark.parametrize(
    "delays",
    [
        [],
        [5.0] * 1000 + [10.0] * 10 + [0.1],
        [random.Random(1).uniform(0.05, 100) for _ in range(5000)],
        [random.Random(2).paretovariate(0.5) for _ in range(5000)],
        [1.0] * 37 + [1.9] * 563,
        [86400.0 * 400] * 50 + [1e-9, 5e-324, 60.0],
        [0.1 * 2**n for n in range(10)],
    ],
)
def test_demand_of_any_mixture_is_right_within_three_percent(client, delays):
    put(client, delays)
    client.zadd("delay:", {"never": "inf"})
    (demand,) = read_demands(client, [TABLE]).values()
    assert demand.rows == len(delays) + 1
    assert demand.rate == pytest.approx(sum(1 / max(0.01, delay) for delay in delays), rel=0.03)


def test_promises_adaptive_bounds_and_parts_count(client):
    put(client, [100.0] * 10)
    client.hset("state:", "margin_s", 5)
    tables = [
        Table("promised", "t", max_staleness_s=50, target=0.9),
        Table("adaptive", "t", adaptive=Adaptive(1, 20)),
        Table("parts", "t", "parts", partitions=2),
        Table("wrong", "t", "wrong"),
        Table("last", "t", "last"),
    ]
    put(client, [100.0] * 10, "delay:last")
    for part in tables[2].parts:
        put(client, [100.0] * 10, part.keys.delay)
    client.set("delay:wrong", "of another program")
    rates = [demand.rate for demand in read_demands(client, tables).values()]
    assert rates == pytest.approx([10 / 45, 10 / 20, 20 / 100, 0, 10 / 100])
