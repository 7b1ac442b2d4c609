"""Application of Django: refreshes the cached row of an item after each commit."""

from django.apps import AppConfig

from rowcache_tasks.orm.django import refresh_on_save


class InventoryConfig(AppConfig):
    """Items and their cached rows."""

    name = "inventory"

    def ready(self) -> None:
        """Refresh rows from now on."""
        refresh_on_save(self.get_model("Item"), "inv")
