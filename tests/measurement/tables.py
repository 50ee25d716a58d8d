"""Small shops as Arrow tables: rows are dictionaries, days count from START, what is left out has a usual value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from nextoffer.measurement.records import Records

START = datetime(2026, 1, 10, tzinfo=UTC)
END = START + timedelta(days=28)
SHARE = 0.25  # margin where no cost is known: exact in binary

TEXT, WHOLE, MOMENT = pa.string(), pa.int64(), pa.timestamp("us")
Row = Mapping[str, Any]


def day(offset: float) -> datetime:
    """A moment as the tables hold it."""
    return (START + timedelta(days=offset)).replace(tzinfo=None)


def table(rows: Iterable[Row], types: Mapping[str, pa.DataType], usual: Row) -> pa.Table:
    full = [{**usual, **row} for row in rows]
    columns = {}
    for name, kind in types.items():
        cells = [row.get(name) for row in full]
        if kind == MOMENT:
            cells = [day(cell) if isinstance(cell, int | float) else cell for cell in cells]
        columns[name] = pa.array(cells, kind)
    return pa.table(columns)


def shop_lines(rows: Iterable[Row]) -> pa.Table:
    """Canonical order lines: order_id, customer_id, ordered_at, product_id, quantity, revenue, cost, …"""
    types = {
        "order_id": TEXT,
        "customer_id": TEXT,
        "ordered_at": MOMENT,
        "product_id": TEXT,
        "quantity": pa.decimal128(18, 3),
        "revenue": WHOLE,
        "cost": WHOLE,
        "promo_code": TEXT,
        "points_spent": WHOLE,
        "channel": TEXT,
    }
    return table(rows, types, {"product_id": "p", "quantity": 1, "ordered_at": 1})


def live(rows: Iterable[Row]) -> pa.Table:
    """The ledger's orders; `lines` are lists of dictionaries."""
    types = {
        "order_id": TEXT,
        "unit_id": TEXT,
        "at": MOMENT,
        "revenue": WHOLE,
        "cost": WHOLE,
        "currency": TEXT,
        "lines": TEXT,
        "returns_of": TEXT,
    }
    told = [{**row, "lines": json.dumps(row.get("lines", []))} for row in rows]
    return table(told, types, {"at": 1, "currency": "GBP"})


def assigned(rows: Iterable[Row]) -> pa.Table:
    """The ledger's assignments."""
    types = {
        "experiment": TEXT,
        "version": WHOLE,
        "unit_id": TEXT,
        "group": TEXT,
        "assigned_at": MOMENT,
        "stratum": TEXT,
    }
    return table(rows, types, {"experiment": "e", "version": 1, "group": "treated", "assigned_at": 0})


def offer(kind: str = "for_you", offer_id: str = "o", **more: Any) -> dict[str, Any]:
    """One offer of a slate."""
    plain = {"product_id": "p", "incentive": {"type": "none"}, "incentive_name": "none"}
    return {"offer_id": offer_id, "kind": kind, **plain, **more}


def decided(rows: Iterable[Row]) -> pa.Table:
    """The ledger's decisions; `slate` is a list of offers."""
    names = ("decision_id", "unit_id", "group", "campaign", "placement", "run_on", "slate", "withheld_by")
    told = [{**row, "slate": json.dumps(row.get("slate", [offer()]))} for row in rows]
    return table(told, {**dict.fromkeys(names, TEXT), "at": MOMENT}, {"group": "treated", "at": 1})


def happened(rows: Iterable[Row]) -> pa.Table:
    """The ledger's events; `payload` is a dictionary."""
    names = ("event_id", "decision_id", "offer_id", "unit_id", "product_id", "type", "payload")
    told = [
        {
            "event_id": f"e{number:03d}",
            **row,
            "payload": json.dumps(row["payload"]) if "payload" in row else None,
        }
        for number, row in enumerate(rows)
    ]
    return table(told, {**dict.fromkeys(names, TEXT), "at": MOMENT}, {"type": "promotion-clicked", "at": 2})


def linked(pairs: Iterable[tuple[str, str]]) -> pa.Table:
    """The ledger's identities: (visitor, customer)."""
    rows = [{"visitor_id": visitor, "customer_id": customer} for visitor, customer in pairs]
    return table(rows, {"visitor_id": TEXT, "customer_id": TEXT}, {})


def opened(**given: Any) -> Records:
    """Records of a shop in pounds; a shop without history has none."""
    return Records.open(**{"orders": None, "currency": "GBP", "margin_share": SHARE, "threads": 1, **given})


def dictionaries(records: Records, query: str) -> list[dict[str, Any]]:
    """The rows of a small answer."""
    rows: list[dict[str, Any]] = records.arrow(query).to_pylist()
    return rows
