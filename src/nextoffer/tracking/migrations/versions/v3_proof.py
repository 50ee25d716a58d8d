"""Format 3: experiments as they were registered, strata, ghosts, who a visitor turned out to be, returns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables and columns; what is there already stays as it is."""
    op.create_table(
        "experiments",
        sa.Column("experiment", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "identities",
        sa.Column("visitor_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.add_column("assignments", sa.Column("stratum", sa.String))
    op.add_column("decisions", sa.Column("withheld_by", sa.String))
    op.add_column("events", sa.Column("received_at", sa.BigInteger))
    op.add_column("orders", sa.Column("returns_of", sa.String))
