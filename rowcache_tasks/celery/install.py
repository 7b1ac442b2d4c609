"""Installation in a Celery application: tasks, queues, routes, worker steps, start checks, defaults."""

from contextlib import suppress
from typing import Any

from celery import Celery
from celery.signals import celeryd_init
from celery.utils.imports import symbol_by_name
from celery.utils.text import str_to_list

from rowcache_tasks.celery.application import add_application, applications, is_package, names_of
from rowcache_tasks.celery.defaults import shared_defaults
from rowcache_tasks.celery.startup import check_worker
from rowcache_tasks.config.source import hide_password
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import shorten

STEPS = ("step:GiveBack", "step:Presence", "step:EventFlush")
"""Names, so that a process that only sends imports no worker."""


def install(app: Celery) -> Celery:
    """Add the tasks, queues, routes and start checks of the package to an application; return it.

    Its own tasks, beat entries, queues, routes and settings stay as they are. Call this before or after the
    configuration is read; a second call changes nothing. With several applications in one process, the one installed
    last sends the tasks of the package. Within a task, the application of that task sends them. Raises ArgumentError.
    """
    if not isinstance(app, Celery):
        raise ArgumentError(f"install: app is {shorten(app)}: it must be a Celery application")
    if app in applications:
        if not is_package(app):
            applications.append(applications.pop(applications.index(app)))
        return app
    if applications:
        changed: Any = app
        changed.amqp_cls = user_amqp(changed.amqp_cls)
        vars(app).pop("amqp", None)  # cached
        app.on_after_configure.connect(add_shared_defaults, weak=False)
        if changed.configured:
            add_shared_defaults(app)
    app.steps["consumer"].update(f"rowcache_tasks.celery.kombu.{step}" for step in STEPS)
    app.autodiscover_tasks(["rowcache_tasks"])
    add_application(app)
    return app


def user_amqp(theirs: Any) -> Any:
    """Return the class of the queues of an application, or its name: on top of a class of its own."""
    ours = "rowcache_tasks.celery.kombu.amqp:RowCacheAMQP"
    if theirs == "celery.app.amqp:AMQP":
        return ours
    return type("AMQP", (symbol_by_name(ours), symbol_by_name(theirs)), {})


def add_shared_defaults(sender: Celery, **_: object) -> None:
    """Complete the settings of an application of the user."""
    with suppress(ConfigError):  # the check at the start has the line
        add_defaults(sender, shared_defaults(sender.conf.broker_url))


def add_defaults(app: Celery, defaults: dict[str, Any]) -> None:
    """Add defaults behind the settings of the user, and our queues to theirs; hide the password. Raises ConfigError."""
    conf: Any = app.conf
    conf.maps.insert(-1, defaults)
    conf.broker_transport_options = defaults["broker_transport_options"] | conf.broker_transport_options
    hide_password(app)
    conf.task_queues = [*app.amqp.Queues(conf.task_queues).values()]  # Flower shows them while no worker runs


@celeryd_init.connect(weak=False)
def check_before_start(instance: Any = None, options: Any = None, **_: object) -> None:
    """Refuse to start a worker that cannot work. One of the user that consumes none of our queues needs no check."""
    app = getattr(instance, "app", None)
    if app in applications and (is_package(app) or is_consumer(app, options or {})):
        check_worker(app)


def is_consumer(app: Celery, options: dict[str, Any]) -> bool:
    """Return whether a worker with these options consumes a queue of the package."""
    try:
        ours = set(names_of(app).queues)
    except ConfigError:
        return True  # the check has the line
    given: list[Any] = [options.get(option) for option in ("queues", "exclude_queues")]
    chosen, excluded = (set(str_to_list(names) or ()) for names in given)
    return bool((ours & chosen if chosen else ours) - excluded)
