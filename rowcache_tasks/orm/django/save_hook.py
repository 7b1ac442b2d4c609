"""Refreshes of saved and deleted model instances after the commit."""

import logging
from functools import cache
from itertools import product
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models, transaction
from django.db.models.signals import class_prepared, post_delete, post_save

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.orm.delivery import Delivery
from rowcache_tasks.orm.mapped_key import key_columns
from rowcache_tasks.schedule.arguments import parse_row_ids
from rowcache_tasks.schedule.refresher import Refresher
from rowcache_tasks.schedule.row_id import Key, Many, row_id

logger = logging.getLogger(__name__)

TIMEOUT_S = 1.0


def refresh_on_save(model: type[models.Model], table: str) -> "SaveHook":
    """Refresh the cached row of each instance that is saved or deleted, as soon as that is committed.

    `model`: its subclasses and proxies count. `table`: a cached table of the model. Call once for each table.

    Rows of one transaction are sent together. A Redis that is away raises nothing. Writes that send no signal, such as
    QuerySet.update() and bulk_create(), need touched(); docs/django.md lists them.

    Raises ArgumentError for an unknown table or a model without the columns of its key, ConfigError for wrong settings.
    """
    return SaveHook(model, _shared()[0].settings.table(table))


def touched(table: str, keys: Many[Key], using: str = DEFAULT_DB_ALIAS) -> None:
    """Refresh rows when the current transaction of a database is committed; at once outside of a transaction.

    Any iterable of keys will do: touched("inv", Item.objects.filter(...).values_list("pk", flat=True)).

    Raises ArgumentError for an unknown table and a wrong key.
    """
    name = _shared()[0].settings.table(table).name
    if row_ids := parse_row_ids(keys):
        _add(using, name, row_ids)


class SaveHook:
    """Receiver of the signals of a model until it is removed; made by refresh_on_save."""

    def __init__(self, model: type[models.Model], table: Table) -> None:
        self._model, self._table = model, table.name
        self._fields = _key_fields(model, table)
        self._senders: list[type[models.Model]] = []
        self._listen(model)
        class_prepared.connect(self._listen, weak=False, dispatch_uid=self)

    def remove(self) -> None:
        """Refresh nothing any more. Idempotent."""
        class_prepared.disconnect(dispatch_uid=self)
        for sender, signal in product(self._senders, (post_save, post_delete)):
            signal.disconnect(sender=sender, dispatch_uid=self)

    def _listen(self, sender: type[models.Model], **_: Any) -> None:
        """Listen to a class of the model and its subclasses: with a receiver of all, Django reads what it deletes."""
        if not issubclass(sender, self._model):
            return
        self._senders.append(sender)
        for signal in (post_save, post_delete):
            signal.connect(self._written, sender, weak=False, dispatch_uid=self)
        for subclass in sender.__subclasses__():
            self._listen(subclass)

    def _written(self, instance: models.Model, using: str, **_: Any) -> None:
        connection = connections[using]
        try:
            key = [field.get_db_prep_value(getattr(instance, field.attname), connection) for field in self._fields]
            _add(using, self._table, [row_id(*key)])
        except Exception as error:  # noqa: BLE001 the save must not fail for it
            logger.warning("a row of %s is not refreshed at once: %s", self._table, error)


class Committed(dict[str, dict[str, None]]):
    """Rows of one transaction, or of one savepoint, by table, each once; called after the commit."""

    using = DEFAULT_DB_ALIAS

    def __call__(self) -> None:
        """Send the rows."""
        refresher, delivery = _shared()
        is_located = any(refresher.settings.table(table).replica for table in self)
        position = _read_position(self.using) if is_located else ""
        delivery.send({table: list(row_ids) for table, row_ids in self.items()}, position)


def _read_position(using: str) -> str:
    """Return the position of the primary after the commit; "" where it cannot be asked."""
    if connections[using].vendor != "postgresql":
        return ""
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(PostgreSQL.position)
            return str(cursor.fetchone()[1])
    except Exception as error:  # noqa: BLE001 the commit has succeeded
        logger.warning("rows may be read from a replica before their change: %s", error)
        return ""


def _add(using: str, table: str, row_ids: list[str]) -> None:
    """Add rows to the last callback of the transaction if that is ours and of this savepoint, or to a new one."""
    connection = connections[using]
    savepoints, last, *_ = connection.run_on_commit[-1] if connection.run_on_commit else (None, None)
    if isinstance(last, Committed) and savepoints == set(connection.savepoint_ids):
        last.setdefault(table, {}).update(dict.fromkeys(row_ids))
    else:
        committed = Committed({table: dict.fromkeys(row_ids)})
        committed.using = using
        transaction.on_commit(committed, using)


@cache
def _shared() -> tuple[Refresher, Delivery]:
    """Return the connections of this process: one set, however many models there are."""
    refresher = Refresher(timeout=TIMEOUT_S)
    return refresher, Delivery(refresher.touch_rows, TIMEOUT_S)


def _key_fields(model: type[models.Model], table: Table) -> list[Any]:
    """Return the fields of the key, in the order of row ids."""
    meta = model._meta
    primary = getattr(meta, "pk_fields", [meta.pk])
    columns = {field.column: field for field in meta.concrete_fields}
    place = f"refresh_on_save: {model.__name__}"
    return key_columns(place, table, columns, {field.column: field for field in primary})
