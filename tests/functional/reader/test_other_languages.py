"""The redis-cli lines of docs/other-languages.md, run with no more rights than the page names."""

import re
import shlex
import socket

import hiredis
import pytest
from support.documented import blocks_of
from support.project import ROOT

PAGE = (ROOT / "docs" / "other-languages.md").read_text("utf-8")
BLOCKS = blocks_of("console", "docs/other-languages.md")
[RIGHTS] = re.findall(r"ACL SETUSER shop on >secret (.*)", PAGE)
[TRACKING] = re.findall(r"The rights for it are `(.*)`", PAGE)

OLD = b'{"id":42,"name":"ball","price":"12.30","quantity":3}'
NEW = b'{"id":42,"name":"ball","price":"12.30","quantity":2}'


class Cli:
    """What redis-cli does with a line: sends the words, shows the reply. Replies in RESP 2 or 3, pushes apart."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(path)
        self._reader = hiredis.Reader(encoding="utf-8", notEnoughData=Ellipsis)

    def close(self):
        self._socket.close()

    def ask(self, line):
        self._socket.sendall(hiredis.pack_command(tuple(shlex.split(line))))
        reply = self.read()
        assert not isinstance(reply, hiredis.ReplyError), f"{line}: {reply}"
        return show(reply)

    def read(self):
        while (reply := self._reader.gets()) is Ellipsis:
            received = self._socket.recv(65536)
            assert received, "the server has closed the connection"
            self._reader.feed(received)
        return reply


def show(reply, indent=""):
    """Write a reply as redis-cli shows it, line by line."""
    if isinstance(reply, hiredis.PushNotification):
        name, keys = reply
        return [f"-> {name}: '{keys[0]}'"]
    if reply is None:
        return ["(nil)"]
    if isinstance(reply, int):
        return [f"(integer) {reply}"]
    if not isinstance(reply, list):
        return [str(reply)]
    lines = []
    for number, item in enumerate(reply, 1):
        first, *others = show(item)
        lines += [f"{number}) {first}", *(f"   {other}" for other in others)]
    return lines


def unquote(line):
    """Undo the quotes that redis-cli writes strings with; `show` writes none."""
    return re.sub(r'"(.*)"$', lambda found: found[1].replace('\\"', '"'), line)


def without_times(lines):
    """Let numbers at the end be any, but for (integer) …: times are never the same."""
    return [re.sub(r"(?<![\w.:])(?<!integer\) )\b\d+(\.\d+)?$", "N", line) for line in lines]


@pytest.fixture
def cli(valkey, client):
    client.execute_command("ACL", "SETUSER", "shop", "on", ">secret", "resetkeys", "-@all", *RIGHTS.split())
    client.execute_command("ACL", "SETUSER", "shop", *TRACKING.split())
    cli = Cli(valkey.url_for(9).removeprefix("unix://").partition("?")[0])
    cli.ask("AUTH shop secret")
    cli.ask("SELECT 9")
    yield cli
    cli.close()
    client.execute_command("ACL", "DELUSER", "shop")


def refresh(schedule, value):
    schedule.touch_rows(["42"])
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"42": value})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_lines_of_the_page_give_what_it_shows(cli, schedule, block):
    schedule.put_rows({"42": (10, 0)})
    refresh(schedule, OLD)
    steps = re.findall(r"^> (.*)\n((?:(?!> ).*\n)*)", block, re.MULTILINE)
    assert len(steps) > 1
    for line, shown in steps:
        found = cli.ask(line)
        expected = shown.splitlines()
        if expected and expected[-1].startswith("-> "):
            refresh(schedule, OLD)
            assert cli.ask("PING") == ["PONG"], "the row has not changed: nobody is told"
            refresh(schedule, NEW)
            found += show(cli.read())
        if expected:
            assert without_times(found) == without_times(map(unquote, expected)), line


def test_every_kind_of_line_is_run():
    assert len(BLOCKS) == 5
    assert sum(block.count("\n> ") for block in BLOCKS) >= 15


def ask_for_a_fresh_value(cli, row_id):
    """What the page says to send after a change."""
    assert "`ZADD schedule: XX LT <now> 42`" in PAGE
    seconds = cli.ask("TIME")[0].partition(" ")[2]
    cli.ask(f"ZADD schedule: XX LT {seconds} {row_id}")


def test_fresh_value_asked_for_during_a_refresh_is_read_after_it(cli, schedule, client):
    schedule.put_rows({"42": (1000, 0)})
    claim, _ = schedule.claim_rows(10, 30)
    ask_for_a_fresh_value(cli, "42")
    schedule.commit_rows(claim, {"42": OLD})
    assert list(schedule.claim_rows(10, 30)[0].row_ids) == ["42"]


def test_asking_for_a_fresh_value_keeps_the_place_of_a_due_row_and_schedules_no_other(cli, schedule, client):
    schedule.put_rows({"42": (1000, 0)})
    client.zadd("schedule:", {"42": 5})
    ask_for_a_fresh_value(cli, "42")
    ask_for_a_fresh_value(cli, "43")
    assert client.zrange("schedule:", 0, -1, withscores=True) == [(b"42", 5.0)]


def test_snippet_of_node_is_that_of_the_example():
    [snippet] = re.findall(r"^```js\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert snippet in (ROOT / "examples" / "node" / "rowcache.mjs").read_text("utf-8")
