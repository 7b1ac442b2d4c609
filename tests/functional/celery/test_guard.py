"""Overrides step aside, with one warning each, on upstream code that they were not tested with."""

import os
import sys

import pytest
from support.fork_server import run_forked
from support.overrides import OVERRIDES, REPLACED_UPSTREAM

SHOW = """
import sitecustomize
from rowcache_tasks.celery import app
from rowcache_tasks.celery.kombu import consumer, step, transport
print(*[kind.__name__ for kind in consumer.WorkerConsumer.__mro__ if kind.__module__ == consumer.__name__])
print(consumer.WorkerConsumer.Blueprint.__name__, step.GiveBack.__name__)
channels = [kind.Channel for kind in transport.OF_PACKAGE.values() if hasattr(kind, "Channel")]
print(*{kind.QoS.__name__ for kind in channels}, *{part.__name__ for kind in channels for part in kind.__mro__})
print(*{part.__name__ for kind in channels for part in kind.Message.__mro__})
"""


def overrides_with(functions):
    """Name the overrides in effect, and those that a warning is about, in a process where functions are replaced."""
    env = os.environ | {"PYTHONPATH": str(REPLACED_UPSTREAM), "REPLACED": " ".join(functions)}
    done = run_forked([sys.executable, "-c", SHOW], env=env)
    assert done.returncode == 0, done.stderr
    warned = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("override_off: ")]
    return set(done.stdout.split()) & set(OVERRIDES), sorted(warned)


def test_every_override_is_tested_with_the_version_that_is_installed():
    assert overrides_with([]) == (set(OVERRIDES), [])


def test_every_override_steps_aside_with_one_warning_when_upstream_is_another():
    assert overrides_with(OVERRIDES.values()) == (set(), sorted(OVERRIDES))


@pytest.mark.parametrize(
    "name", ["ConsumerRejectsMalformed", "BatchQoS", "GiveBack", "UncompressedMessage", "SkipsUnreadable"]
)
def test_one_override_steps_aside_alone(name):
    assert overrides_with([OVERRIDES[name]]) == (set(OVERRIDES) - {name}, [name])
