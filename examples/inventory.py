"""The table of both services: as they write it, and what their readers get of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import DateTime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


@dataclass
class Item:
    """A row for reading, the columns as Python types: decoded from the cache, or made of a row of the database."""

    id: int
    name: str
    quantity: int
    price: Decimal
    updated_at: datetime


class Base(DeclarativeBase):
    """The mapped classes of the services."""


class InventoryRow(Base):
    """The same row for writing."""

    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    quantity: Mapped[int]
    price: Mapped[Decimal]
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), onupdate=lambda: datetime.now(UTC))

    def item(self) -> Item:
        """Give what readers get."""
        return Item(self.id, self.name, self.quantity, self.price, self.updated_at)
