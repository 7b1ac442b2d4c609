"""Queues, routes and connections of a Celery application that has the tasks of the package."""

from typing import Any

from celery.app.amqp import AMQP
from celery.app.routes import MapRoute
from kombu import Exchange, Queue

from rowcache_tasks.celery.application import applications, names_of
from rowcache_tasks.celery.defaults import REFRESH_TASK, TASKS


class RowCacheAMQP(AMQP):
    """The queues and routes of the user, and ours."""

    _rtable: Any

    @property
    def Connection(self) -> Any:  # type: ignore[override]  # noqa: N802 a name of Celery
        """Class of connections; messages of an application of the user may be compressed."""
        from rowcache_tasks.celery.kombu.transport import BrokerConnection, UserConnection  # noqa: PLC0415 to connect

        return UserConnection if self.app in applications[1:] else BrokerConnection

    def Queues(self, queues: Any, *args: Any, **options: Any) -> Any:  # noqa: N802 a name of Celery
        """Return the queues; those of the package are added if they are missing, of the user's kind (quorum)."""
        found = super().Queues(queues, *args, **options)
        kind = self.app.conf.task_default_queue_type
        arguments = None if kind == "classic" else {"x-queue-type": kind}
        for name in names_of(self.app).queues:
            if name not in found:
                found.select_add(Queue(name, Exchange(name, type="direct"), name, queue_arguments=arguments))
        return found

    def flush_routes(self) -> None:
        """Set the routes: tasks of the package go to its queues, all others as the user says."""
        super().flush_routes()
        names = names_of(self.app)
        ours = MapRoute({REFRESH_TASK: {"queue": names.refresh_queue}, TASKS: {"queue": names.schedule_queue}})
        self._rtable = [ours, *self._rtable]
