"""Own what readers of the cache use. Must not import SQL or Celery when it is imported."""
