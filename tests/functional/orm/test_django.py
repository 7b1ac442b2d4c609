"""Refreshes after a commit of Django, on a real SQLite file and a real Valkey."""

import json
import os
import subprocess
import sys

import pytest
from sqlalchemy import make_url
from support.project import ROOT

PROGRAM = """
import json, sys
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}, "pg": json.loads(sys.argv[3])},
    INSTALLED_APPS=[], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
import redis
from django.db import connection, connections, models, transaction
from django.test.utils import CaptureQueriesContext
from rowcache_tasks.orm.django import refresh_on_save, touched

class Item(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    stock = models.IntegerField(default=0)
    class Meta:
        app_label = "shop"

class Rare(Item):
    class Meta:
        app_label = "shop"
        proxy = True

class Part(models.Model):
    id = models.UUIDField(primary_key=True)
    class Meta:
        app_label = "shop"

class Note(models.Model):
    class Meta:
        app_label = "shop"

with connection.schema_editor() as editor:
    editor.create_model(Note)
    editor.create_model(Item)
    editor.create_model(Part)
client = redis.Redis.from_url(sys.argv[2])
hook = refresh_on_save(Item, "inv")
refresh_on_save(Item, "by_sku")
refresh_on_save(Part, "parts")

class Late(Rare):
    class Meta:
        app_label = "shop"
        proxy = True

def cached():
    return sorted(key.decode() for key in client.keys("*") if b":" in key and client.type(key) == b"string")

def put(*keys):
    client.mset(dict.fromkeys(keys, "{}"))

def refreshed(work):
    # A row that is not scheduled loses its value when it is refreshed.
    before = set(cached())
    work()
    gone = before - set(cached())
    put(*before)
    return sorted(gone)

seen = {}
items = [Item.objects.create(sku=f"a,{n}") for n in range(1, 5)]
put("inv:1", "inv:2", "inv:3", "inv:4", "by_sku:a,1", "by_sku:a,2")
put("parts:00000000000000000000000000000007")

def in_transaction(*steps, fails=False):
    def work():
        try:
            with transaction.atomic():
                for step in steps:
                    step()
                seen.setdefault("within", cached())
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
    return work

def savepoint_is_lost():
    with transaction.atomic():
        items[0].save()
        try:
            with transaction.atomic():
                items[1].save()
                raise RuntimeError
        except RuntimeError:
            pass

seen["save"] = refreshed(items[0].save)
seen["transaction"] = refreshed(in_transaction(items[0].save, items[1].save, items[0].save))
seen["rollback"] = refreshed(in_transaction(items[0].save, fails=True))
seen["savepoint"] = refreshed(savepoint_is_lost)
seen["proxy"] = refreshed(Rare.objects.get(pk=3).save)
seen["proxy that is defined later"] = refreshed(Late.objects.get(pk=3).save)
seen["text key"] = refreshed(lambda: Item(id="4", sku="b", stock=1).save())
seen["other type"] = refreshed(lambda: Part.objects.create(id="00000000-0000-0000-0000-000000000007"))
many = Item.objects.filter(pk__in=[1, 2])
seen["update"] = refreshed(lambda: many.update(stock=5))
seen["touched"] = refreshed(in_transaction(lambda: many.update(stock=6),
    lambda: touched("inv", many.values_list("pk", flat=True))))
seen["touched at once"] = refreshed(lambda: touched("inv", [3]))
seen["delete"] = refreshed(items[1].delete)
received = client.info("stats")["total_commands_processed"]
with transaction.atomic():
    for n in range(100):
        Item.objects.create(sku=f"c{n}")
seen["commands of 100 saves"] = client.info("stats")["total_commands_processed"] - received
with CaptureQueriesContext(connection) as queries:
    Note.objects.all().delete()
seen["reads of a delete of another model"] = [each["sql"] for each in queries if "SELECT" in each["sql"]]
transaction.set_autocommit(False)
items[0].stock = 77
items[0].save()
transaction.commit()
transaction.set_autocommit(True)
seen["saved by hand"] = Item.objects.get(pk=1).stock
hook.remove()
seen["removed"] = refreshed(items[0].save)
refresh_on_save(Note, "copied")
with connections["pg"].schema_editor() as editor:
    editor.create_model(Note)
Note(pk=1).save(using="pg")
seen["position"] = client.zscore("position:copied", "1")
connections["pg"].close()
for mistake in (lambda: refresh_on_save(Item, "ivn"), lambda: refresh_on_save(Part, "by_sku")):
    try:
        mistake()
    except Exception as error:
        seen.setdefault("errors", []).append(f"{type(error).__name__}: {error}")
client.connection_pool.disconnect()
print(json.dumps(seen))
"""
TABLES = {
    "inv": {"table": "shop_item"},
    "by_sku": {"table": "shop_item", "key": ["sku"]},
    "parts": {"table": "shop_part"},
    "copied": {"table": "shop_note", "replica": True},
}


@pytest.fixture(scope="module")
def seen(valkey, postgres_url, tmp_path_factory):
    pytest.importorskip("django")
    folder = tmp_path_factory.mktemp("django")
    url = valkey.url_for(7)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ROWCACHE", "CELERY"))}
    (folder / "celeryconfig.py").write_text(f"rowcache_redis_url = {url!r}\nrowcache_tables = {TABLES!r}\n")
    env |= {"PYTHONPATH": str(ROOT)}
    parts = make_url(postgres_url)
    database = {"NAME": parts.database, "USER": parts.username, "HOST": parts.query["host"]}
    database["ENGINE"] = "django.db.backends.postgresql"
    command = [sys.executable, "-c", PROGRAM, str(folder / "shop.db"), url, json.dumps(database)]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("change", "row_keys"),
    [
        ("save", ["by_sku:a,1", "inv:1"]),
        ("transaction", ["by_sku:a,1", "by_sku:a,2", "inv:1", "inv:2"]),
        ("rollback", []),
        ("savepoint", ["by_sku:a,1", "inv:1"]),
        ("proxy", ["inv:3"]),
        ("proxy that is defined later", ["inv:3"]),
        ("text key", ["inv:4"]),
        ("other type", ["parts:00000000000000000000000000000007"]),
        ("update", []),
        ("touched", ["inv:1", "inv:2"]),
        ("touched at once", ["inv:3"]),
        ("delete", ["by_sku:a,2", "inv:2"]),
        ("removed", ["by_sku:a,1"]),
    ],
)
def test_rows_of_a_change_are_refreshed_after_the_commit(seen, change, row_keys):
    assert seen[change] == row_keys


def test_nothing_is_refreshed_before_the_commit(seen):
    assert {"inv:1", "inv:2"} <= set(seen["within"])


def test_rows_of_one_transaction_are_sent_together(seen):
    assert seen["commands of 100 saves"] < 20


def test_delete_of_another_model_reads_no_row_first(seen):
    assert seen["reads of a delete of another model"] == []


def test_save_in_a_transaction_that_django_does_not_manage_succeeds(seen):
    assert seen["saved by hand"] == 77


def test_position_of_the_database_that_was_written_to_is_named_for_a_table_with_replicas(seen):
    assert seen["position"] > 0


def test_mistakes_are_one_line_at_the_start(seen):
    unknown, wrong_key = seen["errors"]
    assert unknown.startswith("ArgumentError: table 'ivn' is not in rowcache_tables: found 'inv', 'by_sku', 'parts'")
    assert wrong_key == (
        "ArgumentError: refresh_on_save: Part has no column 'sku', of the key of rowcache_tables['by_sku']: "
        "allowed are id"
    )
