"""Commands of a fixed scenario, compared with a recorded stream: a table without partitions is as it always was.

To record anew after a change that is meant: ROWCACHE_RECORD=1 .venv/bin/pytest tests/functional/schedule/test_stream.py
"""

import os
import re
import shlex
from pathlib import Path

import redis

from rowcache_tasks import Refresher, RowCache
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule import scripts
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.script import load_script
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.whole_table import drop_table

SCRIPTS = Path(scripts.__file__).parent
RECORDED = Path(__file__).with_name("stream.txt")
NUMBER = re.compile(r"\(?\d+\.\d+|\b\d{9,}\b")


class Broker:
    def __init__(self):
        self.sent = []

    def send(self, table, claims):
        self.sent.append((table, claims))

    def queue_length(self):
        return len(self.sent)


def run(client, url):
    """Do one of everything, each on a connection in one thread, so that the order is fixed."""
    raw = {"inv": {"table": "inventory"}, "users": {"table": "users", "ttl": 60}}
    settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": raw})
    inv, users = schedules = [Schedule(client, table) for table in settings.tables.values()]
    inv.put_rows({"1": (10.0, 0.0), "2": (10.0, 0.0), "gone": (10.0, 0.0)})
    users.put_rows({"7": (10.0, 0.0)}, "1000.000000")
    inv.drop_rows(["gone"])
    broker = Broker()
    dispatcher = Dispatcher(client, schedules, broker, Limits())
    dispatcher.run_once()
    batches = SentBatches(client, settings.names.queue)
    for (_, claims), schedule in zip(broker.sent, schedules, strict=True):
        with schedule.exchange() as exchange:
            batches.start(claims, exchange)
            exchange.read()
        schedule.commit_rows(claims[0], {claims[0].row_ids[0]: b'{"id": 1}'})
    claim = broker.sent[0][1][0]
    inv.miss_rows(claim, ["2"], Backoff())
    inv.release_rows(claim, {"2": "no"}, Backoff())
    inv.lease_rows(["1"], 30)
    fills = FillScripts(inv.table, ReadThrough())
    replies = [call.run(client) for call in fills.begin(["3"], b"token", None)]
    state = fills.read_begin(["3"], replies)
    for call in fills.end(b"token", state, {"3": b'{"id": 3}'}, None):
        call.run(client)
    with RowCache("inv", url=url) as reader:
        reader.get(1)
        reader.get_many([1, 2])
        reader.get_with_age(1)
        reader.age(1)
        reader.exists(1)
    with Refresher(url=url, tables=raw) as refresher:
        refresher.refresh_tables({"inv": ["1"], "users": ["7"]})
    read_row_states(client, inv.table, ["1"])
    table = TableState(client, inv.table)
    table.pause_table(True)
    drop_table(inv, table, "2000000000.000000", lambda *_: None)
    dispatcher.close()


def plain(words, names):
    """Write a command without its numbers: of a script its name, its keys and the prefix of its values."""
    if words[0] == "EVALSHA":
        words = [words[0], names[words[1]], *words[3 : 4 + int(words[2])]]
    return NUMBER.sub("<number>", " ".join(words))


def test_a_table_without_partitions_has_the_keys_and_commands_of_the_recorded_stream(client, valkey):
    loaded = {path.stem: load_script(path.stem) for path in SCRIPTS.glob("*.lua")}
    for script in loaded.values():
        client.script_load(script.text)
    names = {script.digest: name for name, script in loaded.items()}
    with redis.Redis.from_url(valkey.url) as watcher, watcher.monitor() as monitor:
        run(client, valkey.url_for(9))
        client.echo("end")
        found = []
        while (entry := monitor.next_command())["command"] != "ECHO end":
            words = shlex.split(entry["command"])
            if entry["client_type"] != "lua" and words[0] not in {"CLIENT", "HELLO", "PING", "SELECT"}:
                found.append(plain(words, names))
    if os.environ.get("ROWCACHE_RECORD"):
        RECORDED.write_text("\n".join(found) + "\n", "utf-8")
    assert found == RECORDED.read_text("utf-8").splitlines()
