"""Calls of scripts that are acknowledged when so many replicas have them."""

from typing import Any

import redis
from redis.exceptions import NoScriptError

from rowcache_tasks.schedule.script import ScriptCall, with_text

WAIT_S = 1.0
"""Longest wait for the replicas; a client waits longer for each answer."""


class NotReplicatedError(redis.ConnectionError):
    """The call was made at the primary, and too few replicas have it: a failover may undo it. Make it again."""


def run_replicated(client: "redis.Redis", call: ScriptCall, replicas: int) -> Any:
    """Make a call and wait for the replicas (WAIT), unless they are 0. Raises NotReplicatedError."""
    if not replicas:
        return call.run(client)
    for command in (call.command, with_text(call.command)):
        with client.pipeline(transaction=False) as pipeline:
            asked: Any = pipeline
            asked.execute_command(*command)
            asked.execute_command("WAIT", replicas, int(WAIT_S * 1000))
            reply, reached = pipeline.execute(raise_on_error=False)
        if not isinstance(reply, NoScriptError):
            break
    for outcome in (reply, reached):
        if isinstance(outcome, Exception):
            raise outcome
    if reached < replicas:
        raise NotReplicatedError(
            f"{reached} of {replicas} replicas (rowcache_replicas) have the change after {WAIT_S:g} s: "
            "start or connect the others, or lower the setting"
        )
    return reply
