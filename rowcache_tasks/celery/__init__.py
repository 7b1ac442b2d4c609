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
from kombu.utils.url import url_to_parts

from rowcache_tasks.celery.kombu.shutdown import GiveBack
from rowcache_tasks.celery.kombu.transport import REFRESH_QUEUE
from rowcache_tasks.celery.startup import check_worker, say
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.text import redact

__all__ = ["REFRESH_QUEUE", "SCHEDULE_QUEUE", "app"]

SCHEDULE_QUEUE = "rowcache.schedule"
"""Schedule changes, sent by applications; a queue of their own, so that they never wait behind refreshes."""
QUEUES = ("celery", REFRESH_QUEUE, SCHEDULE_QUEUE)


def check_broker_url(url: object) -> None:
    """Refuse a URL that kombu cannot split: its own error quotes a part of the password.

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
        say(line)
        raise SystemExit(1) from None


check_broker_url(os.environ.get("CELERY_BROKER_URL"))  # which Celery reads by itself
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
        "worker_consumer": "rowcache_tasks.celery.kombu.consumer:RefusingConsumer",
    }
)
app.steps["consumer"].add(GiveBack)


@celeryd_init.connect(weak=False)
def check_before_start(instance: object = None, **_: object) -> None:
    """Refuse to start a worker of this application that could not work; other applications are left alone."""
    if getattr(instance, "app", None) is app:
        check_worker(app)


@app.on_after_configure.connect(weak=False)
def hide_password(sender: Celery, **_: object) -> None:
    """Keep a password out of `celery report`, `inspect conf` and Flower: Celery hides only those in its own settings.

    The package reads its settings from the module, not from here.
    """
    check_broker_url(sender.conf.broker_url)
    url = sender.conf.get("rowcache_redis_url")
    if isinstance(url, str):
        sender.conf["rowcache_redis_url"] = redact(url)


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
