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

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # as users.hashed makes it
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

articles = Table(
    "articles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
)

engine = create_engine(
    settings.DATABASE_URL,
    pool_size=settings.DB_POOL_SIZE,
    max_overflow=settings.DB_MAX_OVERFLOW,
    pool_pre_ping=True,
)
