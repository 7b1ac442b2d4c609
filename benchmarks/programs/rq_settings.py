"""Where the workers of RQ find their broker."""

import os

REDIS_URL = os.environ["BENCH_BROKER_URL"]
