"""Settings of a deployment, for the environment: the package reads each ROWCACHE_* variable that is not set here.

Copy and edit this file for settings without a variable. Loaded from the current directory, or as the module that
CELERY_CONFIG_MODULE names. An empty variable counts as unset. Other settings of Celery may be added; those that the
package needs are its defaults: rowcache_tasks/celery/defaults.py. docs/deployment.md lists the variables.
"""

import os

rowcache_redis_url = os.environ.get("ROWCACHE_REDIS_URL") or "redis://localhost:6379/0"
if not os.environ.get("ROWCACHE_TABLES"):
    rowcache_tables = {"inv": {"table": "inventory"}}

# The broker is CELERY_BROKER_URL, which Celery reads, or the server of the cache. Its loss loses no row.
# One more event for each message sent: Flower shows tasks that wait for a worker. Halves the rate of sending.
task_send_sent_event = os.environ.get("CELERY_TASK_SEND_SENT_EVENT", "on").lower() not in {"0", "false", "no", "off"}
