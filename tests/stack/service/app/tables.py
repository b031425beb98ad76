"""The tables."""

from sqlalchemy import CheckConstraint, Column, DateTime, Integer, MetaData, Table, Text, create_engine, func

from . import settings

metadata = MetaData()

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("note", Text),
    CheckConstraint("length(name) > 0", name="items_name_not_empty"),
)

engine = create_engine(settings.DATABASE_URL, pool_size=5, max_overflow=5, pool_pre_ping=True)
