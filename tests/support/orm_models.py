"""Mapped classes of each kind that applications have, and the settings of the tables that cache them."""

import enum
import uuid
from datetime import date, datetime, time
from decimal import Decimal

from sqlalchemy import CHAR, DateTime, ForeignKey, LargeBinary, Numeric, String, TypeDecorator, Uuid
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TABLES = {
    "inv": {"table": "inventory"},
    "users": {"table": "users", "namespace": "users", "key": "login"},
    "seat": {"table": "seat", "namespace": "seat", "key": ["n", "hall"]},
    "staff": {"table": "staff", "namespace": "staff"},
    "boss": {"table": "boss", "namespace": "boss"},
    "line": {"table": "line", "namespace": "line"},
    "parcel": {"table": "parcel", "namespace": "parcel"},
    "thing": {"table": "thing", "namespace": "thing", "key": ["id", "price", "code", "day", "mood", "tag"]},
}


class Base(DeclarativeBase):
    pass


class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int] = mapped_column(default=0)
    lines: Mapped[list["Line"]] = relationship(cascade="all, delete-orphan", back_populates="item")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("inventory.id"))
    item: Mapped[Inventory] = relationship(back_populates="lines")


class User(Base):
    """Cached under `login`, a deferred column that is not the primary key."""

    __tablename__ = "users"
    user_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    nick: Mapped[str] = mapped_column("login", unique=True, deferred=True)


class Seat(Base):
    __tablename__ = "seat"
    hall: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    is_free: Mapped[bool] = mapped_column(default=True)


class Staff(Base):
    __tablename__ = "staff"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}  # noqa: RUF012 as SQLAlchemy wants it


class Boss(Staff):
    __tablename__ = "boss"
    id: Mapped[int] = mapped_column(ForeignKey("staff.id"), primary_key=True)
    level: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "boss"}  # noqa: RUF012


class Temp(Staff):
    """Stored in the table of Staff."""

    __mapper_args__ = {"polymorphic_identity": "temp"}  # noqa: RUF012


class Mood(enum.Enum):
    SAD = 1
    SO_SO = 2


class Tag(TypeDecorator):
    """Text stored with a prefix that the application does not see."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return f"tag-{value}"

    def process_result_value(self, value, dialect):
        return value.removeprefix("tag-")


class Thing(Base):
    """Its key has a column of each type with its own text form."""

    __tablename__ = "thing"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), primary_key=True)
    code: Mapped[str] = mapped_column(CHAR(5), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    mood: Mapped[Mood] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(Tag, primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class Parcel(Base):
    """Its key is a UUID column that the application reads as text."""

    __tablename__ = "parcel"
    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class Reading(Base):
    """Its key has types for which drivers have objects of their own."""

    __tablename__ = "reading"
    is_last: Mapped[bool] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql"), primary_key=True)
    moment: Mapped[datetime] = mapped_column(
        DateTime(timezone=True).with_variant(mysql.TIMESTAMP(fsp=6), "mysql"), primary_key=True
    )
    token: Mapped[bytes] = mapped_column(LargeBinary().with_variant(mysql.VARBINARY(9), "mysql"), primary_key=True)
    tag: Mapped[bytes] = mapped_column(LargeBinary().with_variant(mysql.BINARY(4), "mysql"), primary_key=True)

    KEY = ("is_last", "at", "moment", "token", "tag")


class Address(Base):
    """Its key has types of PostgreSQL with several texts of one value."""

    __tablename__ = "address"
    opens: Mapped[time] = mapped_column(primary_key=True)
    moment: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    ip: Mapped[str] = mapped_column(postgresql.INET, primary_key=True)
    net: Mapped[str] = mapped_column(postgresql.CIDR, primary_key=True)
    mac: Mapped[str] = mapped_column(postgresql.MACADDR, primary_key=True)
    mac8: Mapped[str] = mapped_column(postgresql.MACADDR8, primary_key=True)

    KEY = ("opens", "moment", "ip", "net", "mac", "mac8")


class Untold(Base):
    """Its key has two columns, and the settings do not list their order."""

    __tablename__ = "untold"
    a: Mapped[int] = mapped_column(primary_key=True)
    b: Mapped[int] = mapped_column(primary_key=True)


CLASSES = {Inventory: "inv", User: "users", Seat: "seat", Staff: "staff", Boss: "boss", Line: "line", Thing: "thing"}


def sell(session, row_id=1, stock=5):
    """Change a row of Inventory in the session."""
    session.get_one(Inventory, row_id).stock = stock
