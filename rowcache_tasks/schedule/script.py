"""The one way to run a Lua script: by its digest, by its text if needed."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError

from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.scripts import read_source

COMMENT = re.compile(r"[ \t]*--.*$", re.M)
BOUND_KEYS = re.compile(r"^local ([\w, ]+) = unpack\(KEYS(?:, \d+)?\)$", re.M)

Call = tuple[Sequence[str], Sequence[Any]]
"""The keys and the arguments of one call."""

texts: dict[str, str] = {}
"""Digest -> text of each script that this process has loaded."""


class Script:
    """A script, run with EVALSHA; with EVAL when the server does not have it.

    EVAL and not SCRIPT LOAD with a second EVALSHA: another client's SCRIPT FLUSH between the two would fail the call.
    """

    def __init__(self, source: str) -> None:
        self.text = COMMENT.sub("", source)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        texts[self.digest] = self.text
        self.keys = tuple(", ".join(BOUND_KEYS.findall(source)).split(", "))
        """Names of its keys, in their order: attributes of Keys."""

    def keys_of(self, keys: Keys) -> list[str]:
        """Return the keys of a table that the script takes, in their order."""
        return [getattr(keys, name) for name in self.keys]

    def run(self, client: "redis.Redis", keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Call the script."""
        # Not through redis-py's Script, which takes as long for a call as the call itself.
        try:
            return client.evalsha(self.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(self.text, len(keys), *keys, *arguments)

    def run_all(self, client: "redis.Redis", calls: Sequence[Call]) -> list[Any]:
        """Call the script several times in one round trip; an error is among the replies, in the place of its call.

        Calls that the server refuses because it does not have the script are sent a second time, all others are not.
        """
        replies = send(client, "EVALSHA", self.digest, calls)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = send(client, "EVAL", self.text, [calls[place] for place in unknown])
        for place, reply in zip(unknown, again, strict=True):
            replies[place] = reply
        return replies


class ScriptCall(NamedTuple):
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any]

    @property
    def command(self) -> tuple[Any, ...]:
        """The call as a command, for an Exchange."""
        return "EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments

    def run(self, client: "redis.Redis") -> Any:
        """Make the call."""
        return self.script.run(client, self.keys, self.arguments)

    async def run_awaited(self, client: Any) -> Any:
        """Make the call through a client of asyncio."""
        try:
            return await client.execute_command(*self.command)
        except NoScriptError:
            return await client.execute_command(*with_text(self.command))


@cache
def load_script(name: str) -> Script:
    """Return a script by the name of its file."""
    return Script(read_source(name))


def with_text(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the command of a call for a server that does not have the script."""
    _, digest, *others = command
    return "EVAL", texts[digest], *others


def send(client: "redis.Redis", command: str, script: str, calls: Sequence[Call]) -> list[Any]:
    """Send one command for each call, in a pipeline."""
    if not calls:
        return []
    pipeline: Any
    with client.pipeline(transaction=False) as pipeline:
        for keys, arguments in calls:
            pipeline.execute_command(command, script, len(keys), *keys, *arguments)
        return list(pipeline.execute(raise_on_error=False))
