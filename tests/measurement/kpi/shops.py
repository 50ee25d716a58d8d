"""Small shops as records, written as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from nextoffer.measurement.kpi import Window
from nextoffer.measurement.records import Records

START = datetime(2026, 3, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us")
LINES = {
    "order_id": pa.string(),
    "customer_id": pa.string(),
    "ordered_at": MOMENT,
    "revenue": pa.int64(),
    "cost": pa.int64(),
    "product_id": pa.string(),
    "quantity": pa.float64(),
    "promo_code": pa.string(),
    "points_spent": pa.int64(),
}
PEOPLE = {
    "customer_id": pa.string(),
    "programme": pa.string(),
    "joined_at": MOMENT,
    "referred_by": pa.string(),
}
SURVEYS = {
    "customer_id": pa.string(),
    "kind": pa.string(),
    "aspect": pa.string(),
    "score": pa.float64(),
    "answered_at": MOMENT,
}


def day(offset: float) -> datetime:
    """A moment so many days after START, as canonical tables hold it."""
    return (START + timedelta(days=offset)).replace(tzinfo=None)


def window(first: float = 0, last: float = 30) -> Window:
    return Window(START + timedelta(days=first), START + timedelta(days=last))


def line(
    order: str, customer: str | None, at: float, revenue: int, cost: int | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "order_id": order,
        "customer_id": customer,
        "ordered_at": day(at),
        "revenue": revenue,
        "cost": cost,
    } | more


def person(
    customer: str, programme: str | None = None, joined: float | None = None, by: str | None = None
) -> dict[str, Any]:
    at = None if joined is None else day(joined)
    return {"customer_id": customer, "programme": programme, "joined_at": at, "referred_by": by}


def answer(
    kind: str, score: float, at: float = 1, customer: str | None = None, aspect: str | None = None
) -> dict[str, Any]:
    return {"customer_id": customer, "kind": kind, "aspect": aspect, "score": score, "answered_at": day(at)}


def table(rows: Sequence[dict[str, Any]], columns: dict[str, pa.DataType]) -> pa.Table:
    default = {"quantity": 1.0, "product_id": "p"}
    return pa.table(
        {
            name: pa.array([row.get(name, default.get(name)) for row in rows], kind)
            for name, kind in columns.items()
        }
    )


def shop(
    lines: Iterable[dict[str, Any]],
    people: Iterable[dict[str, Any]] | None = None,
    surveys: Iterable[dict[str, Any]] = (),
    segments: dict[str, str] | None = None,
    categories: dict[str, str] | None = None,
    margin_share: float = 0.3,
    **more: Any,
) -> Records:
    known, grouped = categories or {}, segments or {}
    return Records.open(
        orders=table(list(lines), LINES),
        currency="EUR",
        margin_share=margin_share,
        products=pa.table(
            {
                "product_id": pa.array(list(known), pa.string()),
                "category": pa.array(list(known.values()), pa.string()),
            }
        ),
        customers=None if people is None else table(list(people), PEOPLE),
        surveys=table(list(surveys), SURVEYS),
        segments=pa.table(
            {
                "customer_id": pa.array(list(grouped), pa.string()),
                "segment": pa.array(list(grouped.values()), pa.string()),
            }
        ),
        threads=1,
        **more,
    )
