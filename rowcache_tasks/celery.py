"""Own the Celery application: `celery -A rowcache_tasks worker | beat | flower`.

Settings come from the module named by CELERY_CONFIG_MODULE, default celeryconfig in the current directory; here are
only the defaults without which the package would not work. It never becomes the current application of a process
that has one of its own.
"""

import os

import click
from celery import Celery
from celery.signals import celeryd_init
from kombu import Exchange, Queue

from rowcache_tasks.shutdown import GiveBack
from rowcache_tasks.start import check_worker, say

__all__ = ["REFRESH_QUEUE", "SCHEDULE_QUEUE", "app"]

REFRESH_QUEUE = "rowcache.refresh"
"""Batches of rows to refresh, sent by dispatchers."""
SCHEDULE_QUEUE = "rowcache.schedule"
"""Schedule changes, sent by applications; a queue of their own, so that they never wait behind refreshes."""
QUEUES = ("celery", REFRESH_QUEUE, SCHEDULE_QUEUE)

app = Celery("rowcache_tasks", set_as_current=False, include=["rowcache_tasks.tasks"])
app.config_from_object(os.environ.get("CELERY_CONFIG_MODULE") or "celeryconfig")
app.add_defaults(
    lambda: {
        "task_queues": [Queue(name, Exchange(name, type="direct"), routing_key=name) for name in QUEUES],
        "beat_scheduler": "rowcache_tasks.beat:DispatchScheduler",
        "broker_connection_max_retries": None,
        "worker_consumer": "rowcache_tasks.consumer:RefusingConsumer",
    }
)
app.steps["consumer"].add(GiveBack)


@celeryd_init.connect(weak=False)
def check_before_start(instance: object = None, **_: object) -> None:
    """Refuse to start a worker of this application that could not work; other applications are left alone."""
    if getattr(instance, "app", None) is app:
        check_worker(app)


@app.on_after_configure.connect(weak=False)
def sign_messages(sender: Celery, **_: object) -> None:
    """Sign what is sent and refuse what is not signed, when the settings ask for it; see docs/security.md.

    A command stops when that cannot be done. Elsewhere Celery logs why, and every attempt to send raises.
    """
    if sender.conf.task_serializer != "auth":
        return
    try:
        sender.setup_security()
    except Exception as error:
        if click.get_current_context(silent=True) is None:
            raise
        say(f"messages cannot be signed, which task_serializer 'auth' asks for: {' '.join(str(error).split())}")
        raise SystemExit(1) from None
