"""The one way to run a Lua script: by its digest, by its text if needed."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError

from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.awaiting import outcome_of, run_blocking
from rowcache_tasks.schedule.scripts import read_source

COMMENT = re.compile(r"[ \t]*--.*$", re.M)
BOUND_KEYS = re.compile(r"^local ([\w, ]+) = unpack\(KEYS(?:, \d+)?\)$", re.M)

Command = tuple[Any, ...]

texts: dict[str, str] = {}  # digest -> text of each script that this process has loaded


class Script:
    """A script, run with EVALSHA; with EVAL when the server does not have it.

    EVAL and not SCRIPT LOAD with a second EVALSHA: another client's SCRIPT FLUSH between the two would fail the call.
    """

    def __init__(self, source: str) -> None:
        self.text = COMMENT.sub("", source)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        texts[self.digest] = self.text
        self.keys = tuple(", ".join(BOUND_KEYS.findall(source)).split(", "))  # attributes of Keys, in their order

    def call(self, keys: Keys, *arguments: Any) -> "ScriptCall":
        """Return the call with the keys of a table."""
        return ScriptCall(self, [getattr(keys, name) for name in self.keys], arguments)


class ScriptCall(NamedTuple):
    """One call of a script. Not through redis-py's Script, which takes as long for a call as the call itself."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any]

    @property
    def command(self) -> Command:
        """The call as a command, for an Exchange."""
        return "EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments

    def run(self, client: "redis.Redis") -> Any:
        """Make the call."""
        return run_blocking(self.send(client))

    async def send(self, client: Any) -> Any:
        """Make the call through a client of threads or of asyncio."""
        try:
            return await outcome_of(client.execute_command(*self.command))
        except NoScriptError:
            return await outcome_of(client.execute_command(*with_text(self.command)))


@cache
def load_script(name: str) -> Script:
    """Return a script by the name of its file."""
    return Script(read_source(name))


def run_all(client: "redis.Redis", calls: Sequence[ScriptCall]) -> list[Any]:
    """Make calls in one round trip; an error is among the replies, in the place of its call."""
    commands = [call.command for call in calls]
    replies = send_all(client, commands)
    send_texts(client, commands, replies)
    return replies


def send_texts(client: "redis.Redis", commands: Sequence[Command], replies: list[Any]) -> None:
    """Send the calls a second time that were refused as the server did not have the script; replace their replies."""
    unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    again = send_all(client, [with_text(commands[place]) for place in unknown])
    for place, reply in zip(unknown, again, strict=True):
        replies[place] = reply


def with_text(command: Command) -> Command:
    """Return the command of a call for a server that does not have the script."""
    _, digest, *others = command
    return "EVAL", texts[digest], *others


def send_all(client: "redis.Redis", commands: Sequence[Command]) -> list[Any]:
    """Send commands in one round trip; an error is among the replies, in the place of its command."""
    if not commands:
        return []
    pipeline: Any
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(pipeline.execute(raise_on_error=False))
