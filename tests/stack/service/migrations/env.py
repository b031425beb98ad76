"""Where alembic finds the database and the tables as they should be."""

from alembic import context

from app.tables import engine, metadata

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    # One transaction for all of it: a migration that fails leaves nothing.
    with context.begin_transaction():
        context.run_migrations()
