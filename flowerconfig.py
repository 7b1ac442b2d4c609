"""Settings of Flower: `celery -A rowcache_tasks flower` reads this file from the current directory.

Copy and edit it for settings without a variable; it wins over FLOWER_* variables. The package has safe defaults, which
need no file: Flower listens on 127.0.0.1, and on another address only with FLOWER_BASIC_AUTH=user:password.
"""
