"""Values that expire, and those that must not any more: there is a mark for as long as some value may expire."""

import pytest
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

PLAIN, WITH_TTL = Table("inv", "inventory"), Table("inv", "inventory", ttl_s=600.0)
VALUE = b'{"id":1}'


def fill(client, table, row_id, delay_s=None, keep_s=60.0):
    """Fill a row as a reader does."""
    scripts = FillScripts(table, ReadThrough(ttl=keep_s))
    (begin,) = scripts.begin([row_id], b"token", 0.0)
    begun = scripts.read_begin([row_id], [begin.run(client)])
    (end,) = scripts.end(b"token", begun, {row_id: VALUE}, delay_s)
    assert end.run(client) == [1, 0]


def refresh(client, table, row_id):
    schedule = Schedule(client, table)
    client.zadd("schedule:", {row_id: 1})
    return schedule.commit_rows(schedule.claim_rows(500, 30)[0], {row_id: VALUE})


@pytest.mark.parametrize("is_scheduled", [False, True])
def test_value_filled_with_a_ttl_stays_when_the_table_has_none_any_more(client, is_scheduled):
    if is_scheduled:
        Schedule(client, PLAIN).put_rows({"1": (10, 0)})
    fill(client, WITH_TTL, "1", None if is_scheduled else 10.0)
    assert 0 < client.pttl("inv:1") <= 600_000
    assert refresh(client, PLAIN, "1").unchanged == 1
    assert client.pttl("inv:1") == -1


def test_commit_with_a_short_ttl_does_not_hide_what_was_filled_for_longer(client):
    fill(client, PLAIN, "7", keep_s=3600.0)
    client.zadd("delay:", {"1": 10})
    refresh(client, Table("inv", "inventory", ttl_s=0.05), "1")
    wait_until(lambda: not client.exists("inv:1"), "the other value has expired")
    client.zadd("delay:", {"7": 10})
    assert refresh(client, PLAIN, "7").unchanged == 1
    assert client.pttl("inv:7") == -1


@pytest.mark.parametrize("ttl_s", [None, 1.0, 10 * 86_400.0])
def test_mark_outlives_every_value_that_may_expire(client, ttl_s):
    client.zadd("delay:", {"1": 10, "2": 10})
    refresh(client, Table("inv", "inventory", ttl_s=ttl_s), "1")
    fill(client, PLAIN, "7", keep_s=86_400.0)
    fill(client, PLAIN, "8", keep_s=1.0)
    refresh(client, WITH_TTL, "2")
    assert client.pttl("expiring:") > 86_300_000
    assert client.pexpiretime("expiring:") >= max(client.pexpiretime(f"inv:{row_id}") for row_id in (1, 2, 7, 8))


@pytest.mark.parametrize("is_allowed", [True, False])
def test_values_with_a_ttl_are_written_by_one_command_where_server_and_user_have_it(valkey, client, is_allowed):
    has_command = bool(client.execute_command("COMMAND INFO", "msetex"))
    if not is_allowed and not has_command:
        pytest.skip("the server has no MSETEX")
    rights = ["+@all"] if is_allowed else ["+@all", "-msetex"]
    client.acl_setuser("writer", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=rights, reset=True)
    client.config_resetstat()
    with connect(valkey.url_for(9).replace("unix://", "unix://writer:any@"), "test") as writer:
        Schedule(writer, WITH_TTL).put_rows({"1": (10, 0)})
        assert refresh(writer, WITH_TTL, "1").refreshed == 1
    used = client.info("commandstats")
    assert ("cmdstat_msetex" in used) == (has_command and is_allowed)
    of_the_mark = 1
    assert used["cmdstat_pexpire"]["calls"] == of_the_mark + (not has_command or not is_allowed)
    assert client.pttl("inv:1") > 0
    assert client.info("errorstats") == {}
