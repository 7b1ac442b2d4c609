"""Table of both services: the mapped class for writing, the dataclass for reading."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import DateTime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


@dataclass
class Item:
    """A row for reading, decoded from the cache or copied from the database."""

    id: int
    name: str
    quantity: int
    price: Decimal
    updated_at: datetime


class Base(DeclarativeBase):
    """Base of the mapped classes."""


class InventoryRow(Base):
    """A row for writing."""

    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    quantity: Mapped[int]
    price: Mapped[Decimal]
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), onupdate=lambda: datetime.now(UTC))

    def item(self) -> Item:
        """Return the row for readers."""
        return Item(self.id, self.name, self.quantity, self.price, self.updated_at)
