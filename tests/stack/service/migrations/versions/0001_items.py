"""The table, its constraint, who may read it, and the first row."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    items = op.create_table(
        "items",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("length(name) > 0", name="items_name_not_empty"),
    )
    op.execute("GRANT SELECT ON items TO PUBLIC")
    op.bulk_insert(items, [{"name": "first"}])


def downgrade() -> None:
    op.drop_table("items")
