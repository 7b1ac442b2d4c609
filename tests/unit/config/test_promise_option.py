"""Options max_staleness and target of a table."""

import pytest

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ConfigError


def parse(**options):
    tables = {"inv": {"table": "inventory"} | options}
    return parse_settings({"rowcache_redis_url": "redis://h/0", "rowcache_tables": tables}).tables["inv"]


def test_target_has_a_default_and_the_bound_of_true_ages_follows_max_staleness():
    table = parse(max_staleness=2)
    assert (table.max_staleness_s, table.target, table.age_error_s) == (2, 0.999, 0.5)
    assert parse(max_staleness=60).age_error_s == parse().age_error_s == 1
    assert parse().target is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_staleness": 0}, r"\['max_staleness'\] is 0: allowed is a number of seconds"),
        ({"max_staleness": 5, "target": 1}, r"\['target'\] is 1: allowed is a number above 0 and below 1"),
        ({"max_staleness": 5, "target": True}, r"\['target'\] is True: allowed is a number above 0"),
        ({"target": 0.9}, r"\['target'\] is set and 'max_staleness' is not: set both, or none"),
    ],
)
def test_wrong_promise_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        parse(**options)
