"""Own what a moment of a process counts as: a table of patterns, and the rule that chooses among them.

A stack is searched from the innermost function outwards; the first function that a pattern of the process fits
decides. So what `send` calls counts as sending, unless a function in between is a part of its own, such as writing a
line to the log. Patterns are searched for in "folder/file.py:Class.method".
"""

import re
from collections import Counter
from collections.abc import Mapping

OTHER = "other"

DISPATCHER, MAIN, POOL = "dispatcher", "worker's main process", "worker's pool"

EVERYWHERE = {
    r"transport/redis\.py:(Sentinel)?Channel\._create_client$": "kombu makes a Redis client for each command",
    r"logging/__init__\.py:": "log lines",
    r"events/dispatcher\.py:EventDispatcher\.": "events for Flower",
}

PARTS: Mapping[str, Mapping[str, str]] = {
    DISPATCHER: EVERYWHERE
    | {
        r"rowcache_tasks/(schedule|claim)\.py:": "claim: call the script, read the answer",
        r":Publisher\.queue_length$": "look how long the queue is",
        r"amqp\.py:.*send_task_message$": "send: kombu",
        r"amqp\.py:|celery/app/(base|task)\.py:|publisher\.py:": "send: Celery makes the message",
        r"rowcache_tasks/alarm\.py:": "sleep until woken",
        r"rowcache_tasks/|celery/beat\.py:": "the loop",
    },
    MAIN: EVERYWHERE
    | {
        r"redis\.py:QoS\.append$": "note the message as fetched",
        r"redis\.py:QoS\.(ack|reject)$|kombu/message\.py:Message\.(ack|reject)": "acknowledge the message",
        r"rowcache_tasks/consumer\.py:check_task$": "check the message",
        r"worker/request\.py:.*\.on_|worker/state\.py:": "note the state of the task",
        r"worker/(strategy|request)\.py:": "Celery makes a request of the message",
        r"(pool|base)\.py:(Base)?Pool\.apply_async$": "hand over to the pool",
        r"asynpool\.py:.*[._](write|put|send)": "hand over to the pool",
        r"asynpool\.py:|billiard/pool\.py:|concurrency/": "hear from the pool",
        r"redis\.py:(Channel\._brpop|MultiChannelPoller|Transport)|messaging\.py:Consumer\.": "receive: kombu",
        r"_deliver$|_callback$": "receive: kombu",
        r"worker/(loops|heartbeat|consumer)|kombu/asynchronous/|vine/": "the event loop",
    },
    POOL: EVERYWHERE
    | {
        r"rowcache_tasks/(schedule|claim)\.py:": "commit: call the script",
        r"rowcache_tasks/backlog\.py:": "note the start of the batch",
        r"rowcache_tasks/argument\.py:": "check the arguments",
        r"/psycopg\w*/|postgresql_(connection|cursor)\.py:": "read: psycopg",
        r"/sqlalchemy/": "read: SQLAlchemy",
        r"rowcache_tasks/(encoding\.py|dialects/)": "encode",
        r"rowcache_tasks/(source|batch|asked|selection|key_type|query\w*)\.py:": "read: keys and rows",
        r"rowcache_tasks/": "our task",
        r"celery/app/|kombu/": "Celery runs the task",
        r"billiard/|concurrency/": "hear from the main process",
    },
}  # fmt: skip
"""Process -> pattern -> part. The first pattern that fits a function counts."""


OURS = {
    *("claim: call the script, read the answer", "look how long the queue is", "sleep until woken", "the loop"),
    *("check the message", "commit: call the script", "note the start of the batch", "check the arguments"),
    *("read: keys and rows", "encode", "our task"),
}
"""Parts that are for the most part code of this package, or what it asks for without Celery."""


class Rules:
    """The patterns of one process."""

    def __init__(self, process: str) -> None:
        self._rules = [(re.compile(pattern), part) for pattern, part in PARTS[process].items()]
        self._known: dict[str, str | None] = {}

    def part_of(self, stack: tuple[str, ...]) -> str:
        """Name the part of a stack, innermost function first."""
        return next((part for part in map(self._part_of_function, stack) if part), OTHER)

    def shares(self, stacks: Counter[tuple[str, ...]]) -> dict[str, float]:
        """Give part -> its share of the samples; they add up to 1. Nothing without a sample."""
        counts: Counter[str] = Counter()
        for stack, count in stacks.items():
            counts[self.part_of(stack)] += count
        total = counts.total()
        return {part: count / total for part, count in counts.most_common()}

    def _part_of_function(self, name: str) -> str | None:
        if name not in self._known:
            self._known[name] = next((part for rule, part in self._rules if rule.search(name)), None)
        return self._known[name]
