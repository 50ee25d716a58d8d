"""Format 1: assignments, decisions, events and orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of the first release."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "assignments",
        sa.Column("experiment", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("unit_id", sa.String, primary_key=True),
        sa.Column("group", sa.String, nullable=False),
        sa.Column("assigned_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String, primary_key=True),
        sa.Column("unit_id", sa.String, nullable=False),
        sa.Column("group", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("campaign", sa.String),
        sa.Column("placement", sa.String),
        sa.Column("run_on", sa.String),
        sa.Column("bundle_id", sa.String),
        sa.Column("slate", sa.Text, nullable=False),
        sa.Column("propensities", sa.Text),
    )
    op.create_index("decisions_of_run", "decisions", ["campaign", "run_on"])
    op.create_index("decisions_of_unit", "decisions", ["unit_id", "at"])
    op.create_table(
        "events",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("decision_id", sa.String),
        sa.Column("offer_id", sa.String),
        sa.Column("unit_id", sa.String),
        sa.Column("product_id", sa.String),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text),
    )
    op.create_index("events_of_unit", "events", ["unit_id", "at"])
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("unit_id", sa.String),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("revenue", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
    )
    op.create_index("orders_of_unit", "orders", ["unit_id", "at"])
