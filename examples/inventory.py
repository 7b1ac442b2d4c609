"""Table of both services: the mapped class for writing, the Pydantic models for reading and for requests."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Item(BaseModel):
    """A row for reading, decoded from the cache or copied from the database."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str
    quantity: int
    price: Decimal
    updated_at: datetime


class Change(BaseModel):
    """Body of a PUT request."""

    quantity: Annotated[int, Field(ge=0, lt=2**31)]


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
