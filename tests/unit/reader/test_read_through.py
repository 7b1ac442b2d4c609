import math

import pytest

from rowcache_tasks import ArgumentError, ReadThrough


def test_defaults_are_allowed():
    options = ReadThrough()
    assert (options.timeout, options.concurrency, options.ttl, options.missing_ttl) == (2.0, 4, 60.0, 5.0)
    assert options.database_url is None
    assert not options.when_redis_is_down


@pytest.mark.parametrize("name", ["timeout", "ttl", "missing_ttl"])
@pytest.mark.parametrize("value", [0, -1, 86401, math.nan, math.inf, True, None, "1"])
def test_time_out_of_its_range_is_a_clear_error(name, value):
    with pytest.raises(ArgumentError, match=rf"^ReadThrough {name} is .*: allowed is a number of seconds "):
        ReadThrough(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 11, 2.0, True, None, "4"])
def test_concurrency_out_of_its_range_is_a_clear_error(value):
    with pytest.raises(ArgumentError, match=r"^ReadThrough concurrency is .*: allowed is a whole number from 1 to 10$"):
        ReadThrough(concurrency=value)


@pytest.mark.parametrize("options", [{"timeout": 0.01}, {"ttl": 86400}, {"missing_ttl": 0.001}, {"concurrency": 10}])
def test_ends_of_the_ranges_are_allowed(options):
    assert ReadThrough(**options)


def test_options_are_given_by_name_and_do_not_change():
    with pytest.raises(TypeError):
        ReadThrough("postgresql://host/db")
    with pytest.raises(AttributeError):
        ReadThrough().timeout = 5
