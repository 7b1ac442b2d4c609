"""What the profile takes a moment of a process for."""

from collections import Counter

import pytest

from benchmarks.part import DISPATCHER, MAIN, OTHER, POOL, Rules

REDIS = ("redis/connection.py:Connection.send_packed_command", "redis/client.py:Redis.execute_command")
COMMIT = (
    *REDIS,
    "main/rowcache_tasks/schedule.py:Schedule._run",
    "main/rowcache_tasks/schedule.py:Schedule.commit_rows",
)
TASK = ("main/rowcache_tasks/refresh.py:refresh_claim", "celery/app/trace.py:build_tracer.<locals>.trace_task")
SEND = ("celery/app/base.py:Celery.send_task", "main/rowcache_tasks/publisher.py:Publisher.send")


@pytest.mark.parametrize(
    ("process", "stack", "part"),
    [
        (POOL, (*COMMIT, *TASK), "commit: call the script"),
        (POOL, TASK, "our task"),
        (POOL, TASK[1:], "Celery runs the task"),
        (
            POOL,
            ("psycopg/cursor.py:Cursor.execute", "site-packages/sqlalchemy/engine/base.py:x", *TASK),
            "read: SQLAlchemy",
        ),
        (POOL, ("logging/__init__.py:Logger.info", "celery/app/trace.py:info"), "log lines"),
        (
            DISPATCHER,
            (*REDIS, "celery/app/amqp.py:AMQP._create_task_sender.<locals>.send_task_message", *SEND),
            "send: kombu",
        ),
        (DISPATCHER, SEND, "send: Celery makes the message"),
        (DISPATCHER, ("celery/events/dispatcher.py:EventDispatcher.publish", *SEND), "events for Flower"),
        (MAIN, (*REDIS, "kombu/transport/redis.py:QoS.append"), "note the message as fetched"),
        (MAIN, ("kombu/utils/json.py:loads", "kombu/transport/redis.py:Channel._brpop_read"), "receive: kombu"),
        (MAIN, ("somewhere.py:function",), OTHER),
    ],
)
def test_innermost_function_that_a_pattern_fits_decides(process, stack, part):
    assert Rules(process).part_of(stack) == part


def test_shares_add_up():
    shares = Rules(POOL).shares(Counter({TASK: 1, TASK[1:]: 2, ("somewhere.py:function",): 1}))

    assert shares == {"Celery runs the task": 0.5, "our task": 0.25, OTHER: 0.25}
    assert Rules(POOL).shares(Counter()) == {}
