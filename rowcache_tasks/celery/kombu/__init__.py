"""Overrides of Celery and kombu: transport, worker consumer, worker steps."""
