"""Settings of Flower: `celery -A rowcache_tasks flower` reads this file from the current directory.

Flower applies its FLOWER_* variables before this file. So each setting here reads its own variable, to let the
environment win; an option of the command line wins over both. Flower reads options without a setting here from the
environment itself, for example FLOWER_BASIC_AUTH (user:password, several separated by commas).
"""

import os

from tornado.options import options

# Local by default: Flower can stop workers, and /metrics and /healthcheck need no password.
address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = os.environ.get("FLOWER_PORT", "5555")

# The default of Flower hides the arguments and the results of tasks.
tasks_columns = os.environ.get("FLOWER_TASKS_COLUMNS", "name,state,args,kwargs,result,received,runtime,worker,uuid")
natural_time = os.environ.get("FLOWER_NATURAL_TIME", "true")

# Flower keeps everything in memory, and drops the oldest first.
max_tasks = os.environ.get("FLOWER_MAX_TASKS", "10000")
max_workers = os.environ.get("FLOWER_MAX_WORKERS", "1000")
# Seconds after which a stopped worker vanishes from the metrics.
purge_offline_workers = os.environ.get("FLOWER_PURGE_OFFLINE_WORKERS", "3600")
# No database file for the history; the state of each row is in Redis.
persistent = os.environ.get("FLOWER_PERSISTENT", "false")

# `options` has the environment and the command line here.
if any(":" not in login for login in options.basic_auth or ()):
    # A password with a comma becomes two logins, the second one without a user.
    raise SystemExit("FLOWER_BASIC_AUTH must be user:password, several separated by commas; no comma in a password")
if (options.address or address) not in {"127.0.0.1", "::1", "localhost"} and not (options.basic_auth or options.auth):
    raise SystemExit(f"Flower on {options.address or address} needs FLOWER_BASIC_AUTH=user:password")
