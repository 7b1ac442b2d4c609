"""The overrides of Celery and kombu, and how to replace the upstream code of each."""

from support.deployment import ROOT

REPLACED_UPSTREAM = ROOT / "tests" / "support" / "replaced_upstream"
"""On PYTHONPATH: a process replaces the functions named in REPLACED by others that do the same."""

OVERRIDES = {
    "LoopReadsMalformed": "celery.worker.consumer.consumer:Evloop.start",
    "ConnectDropsUnreadable": "celery.worker.consumer.consumer:Consumer.connect",
    "HandlerRejectsMalformed": "celery.worker.consumer.consumer:Consumer.create_task_handler",
    "ReconnectSurvivesClose": "celery.worker.consumer.consumer:Consumer.on_connection_error_after_connected",
    "BlueprintHidesPasswords": "celery.bootsteps:Blueprint.info",
    "BatchQoS": "kombu.transport.redis:QoS.ack",
    "KeptClient": "kombu.transport.redis:Channel._create_client",
    "GiveBack": "kombu.transport.redis:Channel._brpop_read",
    "BrokerConnection": "kombu.connection:Connection.get_transport_cls",
}
"""Override -> a function of its upstream code."""
