"""Celery applications that have the tasks of the package, and the one that is used."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from celery import Celery, Task, _state
from celery.local import Proxy

from rowcache_tasks.config.parse import parse_deployment
from rowcache_tasks.config.settings import SETTINGS, Settings, load_module, parse_settings
from rowcache_tasks.config.source import read_module, read_settings, set_application
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.keys import DeploymentNames

if TYPE_CHECKING:
    from celery.result import AsyncResult, EagerResult

PACKAGE = "rowcache_tasks"
applications: list[Celery] = []  # the application of the package, then those of users in the order of `install`
_tasks: list[tuple[Callable[..., Any], Mapping[str, Any]]] = []

CONFIRM_TIMEOUT_S = 5.0  # longest wait for RabbitMQ to confirm a message, where confirm_publish is set


class PackageTask(Task):  # type: ignore[type-arg]
    """Base of the tasks of the package: defaults that the user sets for tasks of their own do not apply."""

    abstract = True
    ignore_result = True
    rate_limit: Any = 0
    time_limit = soft_time_limit = 86_400  # seconds; a task for a large table takes minutes, and must not begin anew
    runs_at_once: ClassVar[bool] = False  # whether `delay` runs the task in the caller, as in a test

    def apply_async(
        self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any
    ) -> "AsyncResult[Any] | EagerResult[Any]":
        """Send the task, or run it, and then the next one of its chain."""
        options.setdefault("confirm_timeout", CONFIRM_TIMEOUT_S)
        if not PackageTask.runs_at_once:
            return super().apply_async(args, kwargs, *rest, **options)
        result = self.apply(args, kwargs, throw=True, **options)
        if options.get("chain"):
            *others, following = options["chain"]
            self.app.signature(following).apply_async((result.result,), chain=others)
        return result

    @cached_property
    def serializer(self) -> str:  # type: ignore[override]
        """JSON where workers accept it and messages are not signed; else that of the user."""
        conf = self.app.conf
        is_json = conf.task_serializer != "auth" and {"json", "application/json"} & set(conf.accept_content)
        return "json" if is_json else str(conf.task_serializer)


def is_package(app: object) -> bool:
    """Return whether this is the application of the package: its settings are those of the configuration module."""
    return bool(applications) and app is applications[0]


def active_app() -> Celery:
    """Return the application of the task that runs, else the one installed last, else that of the package."""
    running: Any = _state.get_current_task()
    return running.app if running is not None and running.app in applications else applications[-1]


def add_application(app: Celery) -> None:
    """Register all tasks with an application, also those added later. It then counts as installed last."""
    applications.append(app)
    for function, options in _tasks:
        app.task(**options)(function)


def add_task(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that makes a function a task of each application; a call goes to that of active_app()."""
    options |= {"name": name, "shared": False}  # by default, Celery shares a task with all applications

    def register(function: Callable[..., Any]) -> Any:
        _tasks.append((function, options))
        for app in applications:
            app.task(**options)(function)
        make: Any = Proxy
        return make(lambda: active_app().tasks[name], name=function.__name__, __doc__=function.__doc__)

    return register


def settings_of(app: object) -> Settings:
    """Return the settings of an application. Raises ConfigError."""
    return load_module() if is_package(app) else parse_settings(read_settings(SETTINGS, app))


def names_of(app: object) -> DeploymentNames:
    """Return the queues of an application; of all settings, only rowcache_deployment is looked at."""
    try:
        raw = read_module(SETTINGS) if is_package(app) else read_settings(SETTINGS, app)
    except ConfigError:
        raw = {}  # no settings at all: tasks of the user are sent without them
    return DeploymentNames.of(parse_deployment("rowcache_deployment", raw.get("rowcache_deployment") or ""))


def asked_app() -> str:
    """Return the application that the celery command names; empty: none, or another program."""
    for word, following in pairwise([*sys.argv[1:], ""]):
        if word in {"-A", "--app"}:
            return following
        if word.startswith(("--app=", "-A")):
            return word.removeprefix("--app=").removeprefix("-A")
    return os.environ.get("CELERY_APP", "")


CELERY = f"celery -A {asked_app() or PACKAGE}"
COMMAND = f"{CELERY} rowcache"  # how commands of this application begin, for advice

set_application(lambda: None if not applications or is_package(app := active_app()) else app)
