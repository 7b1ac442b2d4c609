"""The overrides of Celery and kombu, and how to replace the upstream code of each."""

from support.deployment import ROOT

REPLACED_UPSTREAM = ROOT / "tests" / "support" / "replaced_upstream"
"""On PYTHONPATH: a process replaces the functions named in REPLACED by others that do the same."""

OVERRIDES = {
    "ConsumerRejectsMalformed": "celery.worker.consumer.consumer:Consumer.on_decode_error",
    "ReconnectSurvivesClose": "celery.worker.consumer.consumer:Consumer.on_connection_error_after_connected",
    "BlueprintHidesPasswords": "celery.bootsteps:Blueprint.info",
    "UncompressedMessage": "kombu.message:Message.__init__",
    "SkipsUnreadable": "kombu.transport.redis:Channel._receive_one",
    "BatchQoS": "kombu.transport.redis:QoS.ack",
    "GiveBack": "kombu.transport.redis:Channel._brpop_read",
}
"""Override -> a function of its upstream code."""
