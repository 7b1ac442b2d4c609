"""`install(app)` at each moment at which an application may call it."""

import sys
from types import SimpleNamespace

import pytest
from celery import Celery, Task
from kombu import Connection, Queue
from support.listener import Listener

from rowcache_tasks import ArgumentError, ConfigError, Refresher, RowCache, install
from rowcache_tasks.celery import app as package
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.celery.install import is_consumer
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.tasks import refresh_row, schedule_row

OURS = ["rowcache.refresh", "rowcache.schedule"]


@pytest.fixture
def settings(valkey):
    """Settings of an application with a password in the URL of the cache, which this server does not look at."""
    return {
        "broker_url": valkey.broker_url(8),
        "rowcache_redis_url": valkey.url_for(9),
        "rowcache_tables": {"shop": {"table": "inventory"}},
    }


@pytest.fixture
def broker(valkey):
    with connect(valkey.url_for(8), "test") as broker:
        broker.flushdb()
        yield broker
        broker.flushdb()


def mine(argument=None):
    """A task of the application."""


def build(install_in, settings, moment="before", name="proj"):
    """Make an application with a task of its own, and install at a moment."""
    app = Celery(name, set_as_current=False)
    app.task(name=f"{name}.mine", shared=False)(mine)
    if moment == "before":
        install_in(app)
    if moment == "namespace":
        names = {f"CELERY_{name.upper()}": value for name, value in settings.items()}
        app.config_from_object(SimpleNamespace(**names, OTHER=1), namespace="CELERY")
    elif moment == "lazily":
        app.config_from_object(SimpleNamespace(**settings))
    else:
        app.conf.update(settings)
    if moment == "after":
        assert app.conf.broker_url == settings["broker_url"]
    if moment == "finalized":
        app.finalize()
        assert "proj.mine" in app.tasks
        assert list(app.amqp.queues) == ["celery"]
    if moment != "before":
        install_in(app)
    return install_in(app)


@pytest.mark.parametrize("moment", ["before", "after", "finalized", "lazily", "namespace"])
def test_tasks_queues_routes_and_settings_are_there_whenever_it_is_called(install_in, settings, broker, moment):
    app = build(install_in, settings, moment)
    assert schedule_row.app is app
    schedule_row.delay("shop", 1, 5)
    app.tasks["proj.mine"].delay()
    assert (broker.llen("rowcache.schedule"), broker.llen("celery")) == (1, 1)
    assert list(app.amqp.queues) == ["celery", *OURS] == [queue.name for queue in app.conf.task_queues]
    assert load_settings().tables.keys() == {"shop"}
    assert RowCache("shop").get(1) is None
    names = {name for name in app.tasks if name.startswith("rowcache_tasks.")}
    assert names == {name for name in package.tasks if name.startswith("rowcache_tasks.")}
    assert len(app.steps["consumer"]) == 3


@pytest.mark.parametrize("moment", ["before", "after", "namespace"])
def test_password_of_the_cache_is_not_in_what_flower_shows(install_in, settings, moment):
    url = "redis://:hunter2@localhost/0"
    app = build(install_in, settings | {"rowcache_redis_url": url}, moment)
    assert "hunter2" not in str(app.conf.table(with_defaults=True))
    assert load_settings().redis_url == url


def test_what_is_the_users_stays(install_in, settings, broker):
    base = type("Base", (Task,), {"abstract": True})
    app = Celery("proj", set_as_current=False, task_cls=base)
    own = {
        "task_queues": [Queue("shop")],
        "task_routes": {"*": {"queue": "shop"}},
        "task_serializer": "pickle",
        "accept_content": ["json", "pickle"],
        "task_compression": "gzip",
        "task_default_rate_limit": "1/m",
        "task_acks_late": True,
        "task_time_limit": 30,
        "task_soft_time_limit": 20,
        "worker_prefetch_multiplier": 4,
        "broker_connection_max_retries": 7,
        "beat_schedule": {"nightly": {"task": "mine", "schedule": 60.0}},
    }
    app.conf.update(settings | own)
    own_task = app.task(name="mine", shared=False)(mine)
    install_in(app)
    untouched = Celery("untouched", set_as_current=False)
    untouched.conf.update(settings | own)
    ours = {"task_queues", "broker_transport_options", "rowcache_redis_url", "deprecated_settings"}
    changed = {name for name in untouched.conf if app.conf[name] != untouched.conf[name]} - ours
    assert changed == {
        *("broker_channel_error_retry", "broker_connection_retry_on_startup"),
        *("broker_pool_limit", "worker_consumer", "worker_proc_alive_timeout", "worker_soft_shutdown_timeout"),
        *({"beat_enable_remote_control", "broker_pool_acquire_timeout"} & set(untouched.conf)),  # from Celery 5.7 on
    } - {name for name in ("broker_connection_retry_on_startup",) if untouched.conf[name] == app.conf[name]}
    assert "visibility_timeout" not in app.conf.broker_transport_options
    own_task.delay({1, 2})
    schedule_row.delay("shop", 1, 5)
    assert (broker.llen("shop"), broker.llen("rowcache.schedule")) == (1, 1)
    assert [queue.name for queue in app.conf.task_queues] == ["shop", *OURS]
    with Connection(settings["broker_url"]) as connection:
        message = connection.default_channel.basic_get("rowcache.schedule", no_ack=True)
    assert message.content_type == "application/json", "workers of other applications need no pickle"
    assert (own_task.rate_limit, own_task.acks_late, isinstance(own_task, base)) == ("1/m", True, True)
    task = app.tasks[refresh_row.name]
    assert (task.rate_limit, task.acks_late, task.serializer, isinstance(task, base)) == (0, False, "json", False)
    limits = [(found.time_limit, found.soft_time_limit) for found in (task, app.tasks[schedule_row.name])]
    assert limits == 2 * [(86_400, 86_400)], "a large table takes longer than the user's limit"


def test_default_queue_is_that_of_celery_whatever_exchange_it_has(install_in, settings):
    own = {"task_default_exchange": "tasks", "task_default_exchange_type": "topic", "task_default_routing_key": "a.b"}
    untouched = Celery("untouched", set_as_current=False)
    untouched.conf.update(settings | own)
    app = build(install_in, settings | own)
    (theirs, ours) = (found.amqp.queues["celery"] for found in (untouched, app))
    assert (ours, ours.exchange.type) == (theirs, "topic")


def test_change_that_waits_is_seen_whatever_prefix_and_priority_the_application_has(install_in, settings, broker):
    own = {"broker_transport_options": {"global_keyprefix": "shop:"}, "task_default_priority": 3}
    app = build(install_in, settings | own)
    schedule_row.delay("shop", 1, 5)
    state = BrokerState(app).read("rowcache.schedule")["rowcache.schedule"]
    assert state.length == 1
    assert state.oldest_at > 0


def test_brokers_in_a_list_have_the_options_of_their_scheme(install_in, settings):
    app = build(install_in, settings | {"broker_url": [settings["broker_url"], "redis://localhost/1"]})
    assert app.conf.broker_transport_options["socket_timeout"] == 3


QUORUM = {"x-queue-type": "quorum"}
QUEUES = [Queue("shop"), Queue("rowcache.refresh", queue_arguments=QUORUM)]


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ({"task_queues": QUEUES}, ["shop", *OURS]),
        ({"task_queues": {"shop": {}}}, ["shop", *OURS]),
        ({"rowcache_deployment": "eu"}, ["celery", "rowcache.eu.refresh", "rowcache.eu.schedule"]),
    ],
)
def test_queues_are_those_of_the_user_and_ours(install_in, settings, own, names):
    app = build(install_in, settings | own)
    assert [queue.name for queue in app.conf.task_queues] == list(app.amqp.queues) == names


def test_quorum_queues_can_be_had(install_in, settings):
    app = build(install_in, settings | {"task_queues": QUEUES, "task_default_queue_type": "quorum"})
    assert [app.amqp.queues[name].queue_arguments for name in OURS] == [QUORUM, QUORUM]


def test_queues_that_the_user_sets_after_the_configuration_was_read_get_ours_as_well(install_in, settings):
    app = build(install_in, settings, "after")
    app.conf.task_queues = [Queue("late")]
    assert list(app.amqp.queues) == ["late", *OURS]


def test_each_of_two_applications_in_one_process_has_its_own(install_in, settings, broker):
    first = build(install_in, settings, name="first")
    second = build(install_in, settings | {"rowcache_tables": {"b": {"table": "b"}}, "rowcache_deployment": "two"})
    schedule_row.delay("b", 1, 5)
    first.tasks[schedule_row.name].delay("shop", 1, 5)
    assert (broker.llen("rowcache.two.schedule"), broker.llen("rowcache.schedule")) == (1, 1)
    install_in(first)
    assert schedule_row.app is first
    assert RowCache("b", app=second).get(1) is None
    with pytest.raises(ConfigError, match="app is 5: allowed is a Celery application"):
        RowCache("b", app=5)


def test_application_that_is_named_and_has_no_settings_is_an_error(install_in, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "celeryconfig", SimpleNamespace(**settings))
    monkeypatch.delenv("CELERY_CONFIG_MODULE", raising=False)
    assert RowCache("shop").get(1) is None
    app = install_in(Celery("proj", set_as_current=False))
    for ask in (lambda: RowCache("shop", app=app), lambda: Refresher(app=app)):
        with pytest.raises(ConfigError, match="rowcache_redis_url is not set in the application 'proj', which app="):
            ask()
    monkeypatch.setenv("ROWCACHE_REDIS_URL", settings["rowcache_redis_url"])
    monkeypatch.setenv("ROWCACHE_TABLES", '{"env": {"table": "t"}}')
    assert RowCache("env", app=app).get(1) is None


def test_application_without_install_has_none_of_our_tasks(install_in, settings):
    other = Celery("other", set_as_current=False)
    assert [name for name in other.tasks if name.startswith("rowcache_tasks.")] == []
    assert schedule_row.app is package


def test_settings_come_from_the_module_then_from_the_environment(install_in, settings, monkeypatch, tmp_path):
    install_in(Celery("bare", set_as_current=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CELERY_CONFIG_MODULE", raising=False)
    monkeypatch.setitem(sys.modules, "celeryconfig", None)
    monkeypatch.setenv("ROWCACHE_REDIS_URL", "redis://env/1")
    with pytest.raises(ConfigError, match="configuration module 'celeryconfig' was not found"):
        load_settings()
    monkeypatch.setenv("ROWCACHE_TABLES", '{"env": {"table": "t"}}')
    monkeypatch.setenv("ROWCACHE_LEASE", "12.5")
    assert (load_settings().redis_url, load_settings().lease_s, list(load_settings().tables)) == (
        "redis://env/1",
        12.5,
        ["env"],
    )
    monkeypatch.setenv("ROWCACHE_LEASE", "soon")
    with pytest.raises(ConfigError, match="rowcache_lease is 'soon': allowed is a number of seconds"):
        load_settings()
    monkeypatch.setitem(sys.modules, "celeryconfig", SimpleNamespace(rowcache_redis_url="redis://module/1"))
    monkeypatch.setenv("ROWCACHE_LEASE", "9")
    assert (load_settings().redis_url, load_settings().lease_s) == ("redis://module/1", 9)


@pytest.mark.parametrize(
    ("options", "is_checked"),
    [
        ({}, True),
        ({"queues": "celery"}, False),
        ({"queues": ["celery", "rowcache.refresh"]}, True),
        ({"queues": None, "exclude_queues": "rowcache.refresh,rowcache.schedule"}, False),
    ],
)
def test_start_is_checked_of_workers_that_consume_our_queues(install_in, settings, options, is_checked):
    assert is_consumer(build(install_in, settings), options) is is_checked


def test_install_takes_an_application_only():
    with pytest.raises(ArgumentError, match="install: app is 'proj': it must be a Celery application"):
        install("proj")


def test_options_of_the_broker_that_the_user_has_set_win(install_in):
    app = Celery(broker="redis://", set_as_current=False)
    app.conf.broker_transport_options = {"socket_timeout": 50}
    install_in(app)
    options = app.conf.broker_transport_options
    assert (options["socket_timeout"], options["socket_keepalive"]) == (50, True)


def test_worker_whose_settings_are_wrong_is_checked_whatever_it_consumes(install_in):
    app = install_in(Celery(set_as_current=False))
    assert not is_consumer(app, {"queues": "celery"})
    app.conf.rowcache_deployment = "no name"
    assert is_consumer(app, {"queues": "celery"})


def test_broker_that_does_not_answer_is_not_asked_each_time():
    callers = []
    with Listener(callers.append) as silent:
        broker = BrokerState(Celery(broker=f"redis://127.0.0.1:{silent.port}", set_as_current=False))
        assert broker.read("rowcache.refresh") is None
        asked = len(callers)
        assert broker.read("rowcache.refresh") is None
        assert len(callers) == asked > 0
        for caller in callers:
            caller.close()
