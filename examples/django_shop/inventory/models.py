"""Models."""

from django.db import models


class Item(models.Model):
    """One item in stock."""

    name = models.CharField(max_length=80)
    stock = models.IntegerField(default=0)
