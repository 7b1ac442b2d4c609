"""A stop is held back between a claim and its send, and carried out right afterwards."""

import os
import signal
import time

import pytest

from rowcache_tasks.dispatch.signals import PATIENCE_S, DeferredSignals


class StoppedError(BaseException):
    """What the handler that was there before raises."""


@pytest.fixture
def signals():
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}

    def stop(_signum, _frame):
        raise StoppedError

    signal.signal(signal.SIGTERM, stop)
    signals = DeferredSignals()
    signals.install()
    yield signals
    signal.setitimer(signal.ITIMER_REAL, 0)
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


def test_stop_outside_is_carried_out_at_once(signals):
    with pytest.raises(StoppedError):
        ask_to_stop()


def ask_to_stop_within(signals, work):
    with signals:
        ask_to_stop()
        work()


def test_stop_inside_is_carried_out_afterwards(signals):
    done = []
    with pytest.raises(StoppedError):
        ask_to_stop_within(signals, lambda: done.append("the batch is sent"))
    assert done
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_stop_interrupts_what_takes_too_long(signals):
    started = time.monotonic()
    with pytest.raises(StoppedError):
        ask_to_stop_within(signals, wait_for_ever)
    assert time.monotonic() - started < 50 * PATIENCE_S


def test_handing_back_that_takes_too_long_is_interrupted_as_well(signals):
    interrupted = []

    def send():
        try:
            wait_for_ever()
        except StoppedError:
            interrupted.append("send")
            wait_for_ever()

    with pytest.raises(StoppedError):
        ask_to_stop_within(signals, send)
    assert interrupted == ["send"]


def wait_for_ever():
    while True:
        signal.pause()


def test_process_without_a_handler_of_its_own_ends(signals):
    fresh = DeferredSignals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    fresh.install()
    with pytest.raises(SystemExit):
        ask_to_stop()


def test_installing_twice_changes_nothing(signals):
    handler = signal.getsignal(signal.SIGTERM)
    signals.install()
    assert signal.getsignal(signal.SIGTERM) == handler
