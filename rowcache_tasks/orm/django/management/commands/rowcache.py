"""`manage.py rowcache …`: the commands of `celery -A … rowcache`, with the current Celery application."""

from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):  # type: ignore[misc]
    """Hands all arguments to the command of Celery; `manage.py rowcache --help` lists them."""

    help = "Schedule, read and examine cached rows."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Run `celery rowcache …` and exit with its status."""
        from celery.bin.celery import celery  # noqa: PLC0415 it reads entry points

        current: Any = current_app
        app = current._get_current_object()
        if app.main == "default":
            raise CommandError(
                "rowcache: no Celery application is loaded: import it in the __init__.py of the project, "
                "as Celery's guide for Django has it"
            )
        celery.params[0].default = app  # of the option --app
        celery.main(args=["--skip-checks", *argv[1:]], prog_name="manage.py")
