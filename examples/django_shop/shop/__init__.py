"""Project with an inventory whose rows are cached."""

from shop.celery import app

__all__ = ["app"]
