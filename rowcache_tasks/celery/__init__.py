"""The Celery application: `celery -A rowcache_tasks worker | beat | flower`.

Settings come from the module named by CELERY_CONFIG_MODULE, default celeryconfig in the current directory; those of the
package are behind them (defaults.py). The application never becomes the current one of a process.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from rowcache_tasks.errors import ConfigError, MissingExtraError

try:
    import click
    from celery import Celery
except ModuleNotFoundError as error:
    raise MissingExtraError.of("rowcache_tasks.tasks", "worker", error) from None
from celery.local import PromiseProxy
from kombu.transport import resolve_transport
from kombu.utils.url import url_to_parts

from rowcache_tasks.celery.application import asked_app
from rowcache_tasks.celery.defaults import package_defaults
from rowcache_tasks.celery.flower import add_flower_defaults
from rowcache_tasks.celery.install import add_defaults, install
from rowcache_tasks.celery.startup import print_line, unreadable
from rowcache_tasks.config.settings import SETTINGS
from rowcache_tasks.config.source import NoModuleError, import_configuration, read_module
from rowcache_tasks.errors.text import redact, shorten


def refuse(line: str) -> ConfigError:
    """Return the error with this line; within a command, print it and exit with status 1."""
    if click.get_current_context(silent=True) is None:
        return ConfigError(line)
    print_line(line)
    raise SystemExit(1)


def check_urls(urls: object) -> None:
    """Refuse a URL of a broker that kombu cannot read. Its error may quote a part of the password."""
    for url in urls.split(";") if isinstance(urls, str) and urls else ():
        try:
            resolve_transport(url_to_parts(url)[0].partition("+")[0])  # redis+socket, sqla+postgresql
        except (KeyError, ValueError, ImportError) as error:
            if isinstance(error, ValueError) and "@" in url:
                raise refuse(
                    f"broker_url is {redact(url)!r}: it cannot be parsed: "
                    "write the characters / # ? @ % of a password as %2F %23 %3F %40 %25, and the port as a number"
                ) from None
            raise refuse(str(unreadable(redact(url), error))) from None


def check_types(url: object, options: object) -> None:
    """Refuse settings of the broker that are of another type than Celery's. Raises ConfigError."""
    urls = url if isinstance(url, list | tuple) else [url or ""]
    if not all(isinstance(each, str) for each in urls):
        raise ConfigError(f"broker_url is a {type(url).__name__}: allowed is a URL, or a list of URLs")
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"broker_transport_options is {shorten(options)}: allowed is a dictionary")


def configuration() -> Any:
    """Return the configuration module; nothing when the environment has all settings. Raises ConfigError."""
    try:
        read_module(SETTINGS)
    except ConfigError as error:
        raise refuse(str(error)) from None
    with suppress(NoModuleError):
        return import_configuration()
    return SimpleNamespace()


check_urls(os.environ.get("CELERY_BROKER_URL"))  # Celery reads it itself, and quotes parts of it in its errors
app = Celery("rowcache_tasks", set_as_current=False, amqp="rowcache_tasks.celery.kombu.amqp:RowCacheAMQP")
app.config_from_object(PromiseProxy(configuration))  # read once, at the first use: an import needs no settings
install(app)
if click.get_current_context(silent=True) is not None and asked_app().startswith("rowcache_tasks"):
    if not set(pairwise(sys.argv)) & {("rowcache", name) for name in ("init", "plan", "--version")}:
        configuration()
    add_flower_defaults()


@app.on_after_configure.connect(weak=False)
def add_package_defaults(sender: Celery, **_: object) -> None:
    """Complete the settings of the user, and check the URL of the broker."""
    url = os.environ.get("CELERY_BROKER_URL") or sender.conf.get("broker_url")
    options = sender.conf.get("broker_transport_options")
    try:
        check_types(url, options)
        add_defaults(sender, package_defaults(read_module(SETTINGS).get("rowcache_redis_url"), url))
    except ConfigError as error:
        raise refuse(str(error)) from error
    if str(url).startswith("sentinel") and "master_name" not in sender.conf.broker_transport_options:
        raise refuse(
            f"broker_url is {redact(str(url))!r}: a Sentinel needs the name of its service: "
            'set broker_transport_options = {"master_name": "…"}'
        )
    check_urls(sender.conf.broker_url)


@app.on_after_configure.connect(weak=False)
def sign_messages(sender: Celery, **_: object) -> None:
    """Sign messages, and refuse unsigned ones, when task_serializer is 'auth'; see docs/security.md."""
    if sender.conf.task_serializer != "auth":
        return
    try:
        sender.setup_security()
    except Exception as error:
        raise refuse(
            f"messages cannot be signed, which task_serializer 'auth' asks for: {' '.join(str(error).split())}"
        ) from error
