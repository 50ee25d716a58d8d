"""Format 2: codes, their redemptions, and quotas of limited offers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables; what is there already stays as it is."""
    op.create_table(
        "codes",
        sa.Column("code", sa.String, primary_key=True),
        sa.Column("unit_id", sa.String, nullable=False),
        sa.Column("offer_id", sa.String, nullable=False),
        sa.Column("decision_id", sa.String),
        sa.Column("campaign", sa.String),
        sa.Column("run_on", sa.String),
        sa.Column("product_id", sa.String),
        sa.Column("incentive", sa.Text, nullable=False),
        sa.Column("min_order", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("valid_from", sa.BigInteger, nullable=False),
        sa.Column("valid_until", sa.BigInteger, nullable=False),
        sa.Column("max_uses", sa.Integer, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("quota_key", sa.String),
        sa.UniqueConstraint("unit_id", "offer_id", name="code_of_offer"),
    )
    op.create_index("codes_of_run", "codes", ["campaign", "run_on"])
    op.create_table(
        "redemptions",
        sa.Column("code", sa.String, primary_key=True),
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("unit_id", sa.String, nullable=False),
        sa.Column("quota_key", sa.String),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("discount", sa.BigInteger, nullable=False),
        sa.Column("rolled_back_at", sa.BigInteger),
    )
    op.create_index("redemptions_of_unit", "redemptions", ["unit_id", "at"])
    op.create_index("redemptions_of_key", "redemptions", ["quota_key", "unit_id"])
    op.create_table(
        "quotas",
        sa.Column("quota_key", sa.String, primary_key=True),
        sa.Column("unit_id", sa.String, primary_key=True),
        sa.Column("quota", sa.Integer, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
    )
