"""Views: reads come from the cache, writes go to the database."""

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from inventory.models import Item
from rowcache_tasks import RowCache

inv = RowCache("inv")


@require_GET
def item(_request: HttpRequest, item: int) -> HttpResponse:
    """Return one item: from the cache, else from the database, and cached from then on."""
    row = inv.get(item, fill=True)
    return JsonResponse(row) if row else JsonResponse({"error": "no such item"}, status=404)


@require_GET
def items(_request: HttpRequest) -> HttpResponse:
    """Return the items that are out of stock; their keys come straight from a query."""
    keys = Item.objects.filter(stock=0).order_by("id").values_list("id", flat=True)[:100]
    return JsonResponse({"items": list(inv.get_many(keys, fill=True).values())})


@csrf_exempt
@require_POST
def buy(_request: HttpRequest, item: int) -> HttpResponse:
    """Take one item out of stock; its cached row is refreshed after the commit."""
    with transaction.atomic():
        found = Item.objects.select_for_update().filter(id=item, stock__gt=0).first()
        if found is None:
            return JsonResponse({"error": "out of stock"}, status=409)
        found.stock = F("stock") - 1
        found.save(update_fields=["stock"])
    return JsonResponse({"bought": item})
