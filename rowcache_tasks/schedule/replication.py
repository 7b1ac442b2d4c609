"""Calls of scripts that are acknowledged when so many replicas have them."""

from typing import Any

import redis
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from rowcache_tasks.schedule.script import ScriptCall, with_text
from rowcache_tasks.schedule.servers import send_to

WAIT_S = 0.5  # longest wait for the replicas; a client waits longer for each answer (NODE_TIMEOUT_S)


class NotReplicatedError(redis.ConnectionError):
    """The call was made at the primary, and too few replicas have it: a failover may undo it. Make it again."""


def run_replicated(client: "redis.Redis", call: ScriptCall, replicas: int) -> Any:
    """Make a call and wait for the replicas (WAIT), unless they are 0. Raises NotReplicatedError."""
    if not replicas:
        return call.run(client)
    reply, reached = send_to(client, call.keys[0], lambda server: call_and_wait(server, call, replicas))
    if reached < replicas:
        raise NotReplicatedError(
            f"{reached} of {replicas} replicas (rowcache_replicas) have the change after {WAIT_S:g} s: "
            "start or connect the others, or lower the setting"
        )
    return reply


def call_and_wait(server: "redis.Redis", call: ScriptCall, replicas: int) -> tuple[Any, int]:
    """Make a call and wait on the same connection; return the reply and the number of replicas. Raises their errors."""
    for command in (call.command, with_text(call.command)):
        with server.pipeline(transaction=False) as pipeline:
            asked: Any = pipeline
            asked.execute_command(*command)
            asked.execute_command("WAIT", replicas, int(WAIT_S * 1000))
            reply, reached = pipeline.execute(raise_on_error=False)
        if not isinstance(reply, NoScriptError):
            break
    for outcome in (reply, reached):
        if isinstance(outcome, AskError) and not isinstance(outcome, MovedError):
            raise TryAgainError(str(outcome))  # no wait at another server counts
        if isinstance(outcome, Exception):
            raise outcome
    return reply, reached
