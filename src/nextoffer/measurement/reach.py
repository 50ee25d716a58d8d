"""What offers reached, as tables: by kind and campaign what may be put down to them, by kind and place who met them."""

from __future__ import annotations

from datetime import datetime

from nextoffer.domain.wording import kind_name
from nextoffer.measurement.attribution import Attributed
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Column, Sheet
from nextoffer.texts import said, text


def attribution_sheet(found: Attributed) -> Sheet:
    """By kind and campaign, what may be put down to the offers."""
    rows = [
        (
            row.kind,
            _named(row.kind),
            row.campaign,
            row.n_offered,
            row.n_clicked,
            row.click_rate,
            row.n_redeemed,
            row.n_orders,
            row.revenue,
            row.margin,
            row.incentives,
            row.contacts,
            None if row.roi_percent is None else row.roi_percent / 100,
        )
        for row in found.rows
    ]
    notes = [
        said("Put down to offers, not caused by them: the last opened or used offer before an order has it.")
    ]
    if found.n_open_orders:
        notes.append(
            said("orders whose offer's window is still open, not counted: {n}", n=found.n_open_orders)
        )
    return Sheet(
        "attribution", text("Attributed to offers, by kind and campaign"), _COLUMNS, tuple(rows), tuple(notes)
    )


def _named(kind: str | None) -> str:
    return said("unknown") if kind is None else said(kind_name(kind))


_COLUMNS = (
    Column("kind", text("kind"), "key"),
    Column("kind_name", text("kind")),
    Column("campaign", text("campaign")),
    Column("n_offered", text("offers made"), "count"),
    Column("n_clicked", text("opened"), "count"),
    Column("click_rate", text("share opened"), "share"),
    Column("n_redeemed", text("used"), "count"),
    Column("n_orders", text("orders"), "count"),
    Column("revenue", text("revenue"), "money"),
    Column("margin", text("margin"), "money"),
    Column("incentives", text("cost of incentives"), "money"),
    Column("contacts", text("cost of contacts"), "money"),
    Column("roi", text("ROI, attributed"), "change"),
)


def reach_sheet(records: Records, start: datetime, end: datetime) -> Sheet:
    """By kind and place, how many of the offers made in [start, end) were opened and used until its end."""
    found = records.rows(_REACH, {"start": start, "end": end})
    rows = [
        (kind, _named(kind), place, offered, clicked, clicked / offered, redeemed, redeemed / offered)
        for kind, place, offered, clicked, redeemed in found
    ]
    return Sheet("reach", text("Offers by kind and place"), _REACH_COLUMNS, tuple(rows))


_REACH_COLUMNS = (
    Column("kind", text("kind"), "key"),
    Column("kind_name", text("kind")),
    Column("place", text("placement or campaign")),
    Column("n_offered", text("offers made"), "count"),
    Column("n_clicked", text("opened"), "count"),
    Column("click_rate", text("share opened"), "share"),
    Column("n_redeemed", text("used"), "count"),
    Column("use_rate", text("share used"), "share"),
)
_REACH = """
WITH made AS (
    SELECT decision_id, offer_id, kind, COALESCE(placement, campaign) AS place FROM offered
    WHERE "group" = 'treated' AND withheld_by IS NULL AND "at" >= $start AND "at" < $end
), met AS (
    SELECT decision_id, offer_id, BOOL_OR(type = 'promotion-clicked') AS clicked, BOOL_OR(counts) AS redeemed
    FROM answers WHERE "at" < $end GROUP BY decision_id, offer_id
)
SELECT m.kind, m.place, COUNT(*), COUNT(*) FILTER (WHERE a.clicked), COUNT(*) FILTER (WHERE a.redeemed)
FROM made AS m LEFT JOIN met AS a ON a.decision_id = m.decision_id AND a.offer_id = m.offer_id
GROUP BY m.kind, m.place ORDER BY m.kind NULLS LAST, m.place NULLS LAST
"""
