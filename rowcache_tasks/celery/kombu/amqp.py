"""Queues, routes and connections of a Celery application that has the tasks of the package."""

from typing import Any

from celery.app.amqp import AMQP
from celery.app.routes import MapRoute

from rowcache_tasks.celery.application import names_of
from rowcache_tasks.celery.defaults import REFRESH_TASK, TASKS, all_queues
from rowcache_tasks.celery.kombu.transport import BrokerConnection, UserConnection


class RowCacheAMQP(AMQP):
    """Of the application of the package: the queues and routes of the user, and ours."""

    Connection = BrokerConnection
    _rtable: Any

    def Queues(self, queues: Any, *args: Any, **options: Any) -> Any:  # noqa: N802 a name of Celery
        """Return the queues; those of the package are added if they are missing, as in settings made late."""
        found = super().Queues(queues, *args, **options)
        for queue in all_queues({**self.app.conf, "task_queues": [*found.values()]}, names_of(self.app)):
            if queue.name not in found:
                found.select_add(queue)
        return found

    def flush_routes(self) -> None:
        """Set the routes: tasks of the package go to its queues, all others as the user says."""
        super().flush_routes()
        names = names_of(self.app)
        ours = MapRoute({REFRESH_TASK: {"queue": names.refresh_queue}, TASKS: {"queue": names.schedule_queue}})
        self._rtable = [ours, *self._rtable]


class UserAMQP(RowCacheAMQP):
    """Of an application of the user."""

    Connection = UserConnection
