"""Partitions of the settings and of the keys in Redis."""

import json

from demo.servers import Valkey
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.layout import check_layout
from rowcache_tasks.schedule.rows import Schedule

ONE, FOUR, EIGHT = (Table("inv", "inventory", partitions=count) for count in (1, 4, 8))


def test_the_first_process_notes_the_partitions_and_another_number_is_refused(client):
    assert check_layout(client, FOUR) == ""
    noted = json.loads(client.get("layout:"))
    assert noted == {"partitions": 4, "hash": "crc32", "tags": ["5nw", "h85", "7l1", "b3k"]}
    assert check_layout(client, FOUR) == ""
    for other in (ONE, EIGHT):
        assert "its keys in Redis have 4: set 4" in check_layout(client, other)
    assert json.loads(client.get("layout:")) == noted


def test_a_table_without_partitions_notes_nothing_and_is_not_divided_afterwards(client):
    assert check_layout(client, ONE) == ""
    assert client.dbsize() == 0
    Schedule(client, ONE).put_rows({"1": (10.0, 0.0)})
    assert "its rows are scheduled without partitions" in check_layout(client, FOUR)
    assert client.get("layout:") is None


def test_a_layout_of_another_program_is_refused(client):
    client.set("layout:", "[]")
    assert "its keys in Redis have 0" in check_layout(client, FOUR)


def test_a_list_of_servers_with_another_order_or_number_is_refused():
    with Valkey() as one, Valkey() as two, Valkey() as three:

        def check(*servers):
            with connect(" ".join(server.url for server in servers), "test") as client:
                return check_layout(client, FOUR)

        assert check(one, two) == check(one, two) == ""
        assert "has server 1 of 2, which holds keys of table 'inv' as server 2 of 2" in check(two, one)
        assert "has server 1 of 3, which holds keys of table 'inv' as server 1 of 2" in check(one, two, three)
        assert "has a server that is in no list, which holds keys" in check(one)
        two.kill()
        assert check(one, two) == "", "one that is away is not asked"
