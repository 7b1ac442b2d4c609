"""The Celery application: `celery -A rowcache_tasks worker | beat | flower`.

Settings come from the module named by CELERY_CONFIG_MODULE, default celeryconfig in the current directory. The defaults
here are those without which the package does not work. The application never becomes the current one of a process.
"""

import os

import click
from celery import Celery
from celery.signals import celeryd_init
from kombu import Exchange, Queue
from kombu.utils.url import url_to_parts

from rowcache_tasks.celery.kombu.shutdown import GiveBack
from rowcache_tasks.celery.kombu.transport import REFRESH_QUEUE
from rowcache_tasks.celery.startup import check_worker, print_line
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.text import redact

__all__ = ["REFRESH_QUEUE", "SCHEDULE_QUEUE", "app"]

SCHEDULE_QUEUE = "rowcache.schedule"
"""Schedule changes, sent by applications: on a queue of their own, they never wait behind refreshes."""
QUEUES = ("celery", REFRESH_QUEUE, SCHEDULE_QUEUE)


def check_url_splits(url: object) -> None:
    """Refuse a URL that kombu cannot split: the error of kombu quotes a part of the password.

    Raises ConfigError; within a command, exits with status 1 and one line.
    """
    try:
        if isinstance(url, str) and "@" in url:
            url_to_parts(url)
    except ValueError:
        line = (
            f"broker_url is {redact(str(url))!r}: it cannot be parsed: "
            "write the characters / # ? @ % of a password as %2F %23 %3F %40 %25, and the port as a number"
        )
        if click.get_current_context(silent=True) is None:
            raise ConfigError(line) from None
        print_line(line)
        raise SystemExit(1) from None


check_url_splits(os.environ.get("CELERY_BROKER_URL"))  # Celery reads it itself
app = Celery(
    "rowcache_tasks",
    set_as_current=False,
    include=["rowcache_tasks.tasks"],
    amqp="rowcache_tasks.celery.kombu.transport:RowCacheAMQP",
)
app.config_from_object(os.environ.get("CELERY_CONFIG_MODULE") or "celeryconfig")
app.add_defaults(
    lambda: {
        "task_queues": [Queue(name, Exchange(name, type="direct"), routing_key=name) for name in QUEUES],
        "beat_scheduler": "rowcache_tasks.beat:DispatchScheduler",
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "worker_consumer": "rowcache_tasks.celery.kombu.consumer:WorkerConsumer",
    }
)
app.steps["consumer"].add(GiveBack)


@celeryd_init.connect(weak=False)
def check_before_start(instance: object = None, **_: object) -> None:
    """Refuse to start a worker of this application that cannot work."""
    if getattr(instance, "app", None) is app:
        check_worker(app)


@app.on_after_configure.connect(weak=False)
def hide_password(sender: Celery, **_: object) -> None:
    """Keep a password out of `celery report`, `inspect conf` and Flower: Celery hides those in its own settings only.

    The package reads its settings from the module, not from `conf`.
    """
    check_url_splits(sender.conf.broker_url)
    url = sender.conf.get("rowcache_redis_url")
    if isinstance(url, str):
        sender.conf["rowcache_redis_url"] = redact(url)


@app.on_after_configure.connect(weak=False)
def sign_messages(sender: Celery, **_: object) -> None:
    """Sign messages and refuse unsigned ones when task_serializer is 'auth'; see docs/security.md.

    Without keys, a command stops; elsewhere Celery logs the reason, and each attempt to send raises.
    """
    if sender.conf.task_serializer != "auth":
        return
    try:
        sender.setup_security()
    except Exception as error:
        if click.get_current_context(silent=True) is None:
            raise
        print_line(f"messages cannot be signed, which task_serializer 'auth' asks for: {' '.join(str(error).split())}")
        raise SystemExit(1) from None
