"""Differences between the versions of Celery that tests meet."""

import celery

CELERY = tuple(int(part) for part in celery.__version__.split(".")[:2])
IS_CELERY_57 = CELERY >= (5, 7)
"""From 5.7 on, beat listens to the mailbox of all processes and answers `inspect ping`."""
