"""Settings of Flower: `celery -A rowcache_tasks flower` reads this file from the current directory.

Flower applies its FLOWER_* variables before this file, so whatever is set here must read its own variable for the
environment to win; an option of the command line wins over both. Options that are not named here, FLOWER_BASIC_AUTH
(user:password, several divided by commas) among them, Flower reads from the environment itself.
"""

import os

from tornado.options import options

# /metrics and /healthcheck stay open even with a password, and Flower can stop workers: local only, unless asked.
address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = os.environ.get("FLOWER_PORT", "5555")

# Flower's own default hides what a task was asked and what came of it.
tasks_columns = os.environ.get("FLOWER_TASKS_COLUMNS", "name,state,args,kwargs,result,received,runtime,worker,uuid")
natural_time = os.environ.get("FLOWER_NATURAL_TIME", "true")

# Everything is in memory, the oldest out first.
max_tasks = os.environ.get("FLOWER_MAX_TASKS", "10000")
max_workers = os.environ.get("FLOWER_MAX_WORKERS", "1000")
# Workers that were scaled down vanish from the metrics after an hour (seconds).
purge_offline_workers = os.environ.get("FLOWER_PURGE_OFFLINE_WORKERS", "3600")
# The history is not worth a database file; what happened to a row is in Redis.
persistent = os.environ.get("FLOWER_PERSISTENT", "false")

# Environment and command line are in `options` by now.
if any(":" not in login for login in options.basic_auth or ()):
    # A password with a comma would otherwise become two logins, the second one without a user.
    raise SystemExit("FLOWER_BASIC_AUTH must be user:password, several divided by commas; no comma in a password")
if (options.address or address) not in {"127.0.0.1", "::1", "localhost"} and not (options.basic_auth or options.auth):
    raise SystemExit(f"Flower on {options.address or address} needs FLOWER_BASIC_AUTH=user:password")
