"""Addresses of the project."""

from django.urls import path
from inventory import views

urlpatterns = [
    path("items/", views.items),
    path("items/<int:item>", views.item),
    path("items/<int:item>/buy", views.buy),
]
