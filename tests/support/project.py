"""Root of the repository, and the command line of Celery for this package."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CELERY = [sys.executable, "-m", "celery", "-A", "rowcache_tasks"]
