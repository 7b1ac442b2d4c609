"""Options adaptive and max_rate of a table."""

import pytest

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ConfigError


def parse(**options):
    tables = {"inv": {"table": "inventory"} | options}
    return parse_settings({"rowcache_redis_url": "redis://h/0", "rowcache_tables": tables}).tables["inv"]


def test_bounds_are_seconds_and_may_equal_the_promise():
    assert parse().adaptive is None
    assert parse(adaptive={"min": 1, "max": 60}, max_staleness=60, ttl=60).adaptive == (1, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adaptive": True}, r"\['adaptive'\] is True: allowed is a dictionary of seconds like"),
        ({"adaptive": {"min": 1}}, r"\['adaptive'\] is .*: allowed is a dictionary of seconds like"),
        ({"adaptive": {"min": 1, "max": 9, "x": 1}}, r"\['adaptive'\] is .*: allowed is a dictionary of seconds"),
        ({"adaptive": {"min": 0, "max": 9}}, r"\['adaptive'\]\['min'\] is 0: allowed is a number of seconds"),
        ({"adaptive": {"min": 9, "max": 9}}, r"\['adaptive'\] is .*: allowed is a min below max"),
        ({"max_rate": 0}, r"\['max_rate'\] is 0: allowed is a number of refreshes a second from 0.1 to 1e\+06"),
        ({"adaptive": {"min": 1, "max": 60}, "max_staleness": 5}, r"a max of 60 s, above 'max_staleness', 5 s: "),
        ({"adaptive": {"min": 1, "max": 60}, "ttl": 30}, r"a max of 60 s, above 'ttl', 30 s: "),
    ],
)
def test_wrong_bounds_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        parse(**options)
