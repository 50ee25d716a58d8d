"""The ledger's tables and the rows that go into them.

Moments are BIGINT microseconds since 1970-01-01 UTC: exact, the same on every database, and an Arrow
timestamp column without parsing. Money is BIGINT minor units. Slates, propensities and lines are JSON texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

SCHEMA_VERSION = 3
TREATED, HOLDOUT = "treated", "holdout"

metadata = MetaData()
schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))
assignments = Table(
    "assignments",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("unit_id", String, primary_key=True),
    Column("group", String, nullable=False),
    Column("assigned_at", BigInteger, nullable=False),
    Column("stratum", String),  # the segment at that moment, if it was known
)
experiments = Table(  # the terms of an experiment when its first customer was assigned; never updated
    "experiments",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("terms", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
)
identities = Table(  # the customer an anonymous visitor turned out to be
    "identities",
    metadata,
    Column("visitor_id", String, primary_key=True),
    Column("customer_id", String, primary_key=True),
    Column("at", BigInteger, nullable=False),
)
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String, primary_key=True),
    Column("unit_id", String, nullable=False),
    Column("group", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("campaign", String),
    Column("placement", String),
    Column("run_on", String),
    Column("bundle_id", String),
    Column("slate", Text, nullable=False),
    Column("propensities", Text),
    Column("withheld_by", String),  # name:version of the experiment that kept these offers back
    Index("decisions_of_run", "campaign", "run_on"),
    Index("decisions_of_unit", "unit_id", "at"),
)
events = Table(
    "events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("decision_id", String),
    Column("offer_id", String),
    Column("unit_id", String),
    Column("product_id", String),
    Column("type", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("payload", Text),
    Column("received_at", BigInteger),
    Index("events_of_unit", "unit_id", "at"),
)
orders = Table(
    "orders",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("unit_id", String),
    Column("at", BigInteger, nullable=False),
    Column("revenue", BigInteger, nullable=False),
    Column("cost", BigInteger),
    Column("currency", String, nullable=False),
    Column("lines", Text, nullable=False),
    Column("returns_of", String),  # the order these lines take back
    Index("orders_of_unit", "unit_id", "at"),
)
codes = Table(
    "codes",
    metadata,
    Column("code", String, primary_key=True),
    Column("unit_id", String, nullable=False),
    Column("offer_id", String, nullable=False),
    Column("decision_id", String),
    Column("campaign", String),
    Column("run_on", String),
    Column("product_id", String),  # what the incentive is taken off; null = the whole basket
    Column("incentive", Text, nullable=False),
    Column("min_order", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),  # the first moment at which it is not valid
    Column("max_uses", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("quota_key", String),
    UniqueConstraint("unit_id", "offer_id", name="code_of_offer"),
    Index("codes_of_run", "campaign", "run_on"),
)
redemptions = Table(
    "redemptions",
    metadata,
    Column("code", String, primary_key=True),
    Column("order_id", String, primary_key=True),
    Column("unit_id", String, nullable=False),
    Column("quota_key", String),
    Column("at", BigInteger, nullable=False),
    Column("discount", BigInteger, nullable=False),
    Column("rolled_back_at", BigInteger),
    Index("redemptions_of_unit", "unit_id", "at"),
    Index("redemptions_of_key", "quota_key", "unit_id"),
)
quotas = Table(  # how often an incentive may be used: by everybody (unit_id is empty), and by one customer
    "quotas",
    metadata,
    Column("quota_key", String, primary_key=True),
    Column("unit_id", String, primary_key=True),
    Column("quota", Integer, nullable=False),
    Column("used", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one unit was offered (treated) or would have been offered (holdout), before it left the house.

    `decision_id` is the attribution token. A campaign's decision has `campaign` and `run_on`, a site's has
    `placement`. `slate` is what the customer would see, as a JSON-able list of offers. With `withheld_by`
    (`name:version`) it is a ghost: what that experiment held back of the decision made at the same moment.
    """

    decision_id: str
    unit_id: str
    group: str
    at: datetime
    bundle_id: str | None
    slate: Sequence[Mapping[str, Any]]
    campaign: str | None = None
    placement: str | None = None
    run_on: date | None = None
    propensities: Any = None
    withheld_by: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order received live. `revenue` and `cost` are minor units; a cost not fully known is None.

    Each line has `product_id`, `quantity` and, where known, `unit_price` and `unit_cost` as decimal strings. A return
    has an id of its own, `returns_of` the order it takes back from, and a negative quantity on every line.
    """

    order_id: str
    unit_id: str | None
    at: datetime
    revenue: int
    currency: str
    cost: int | None = None
    lines: tuple[Mapping[str, Any], ...] = ()
    returns_of: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: an offer shown, clicked or redeemed, a product seen, an order placed.

    `at` is when it happened, `received_at` when we were told. The unit is the customer where both ids are known;
    the visitor id is in the payload then.
    """

    event_id: str
    type: str
    at: datetime
    unit_id: str | None = None
    decision_id: str | None = None
    offer_id: str | None = None
    product_id: str | None = None
    order: Order | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    received_at: datetime | None = None


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC; a moment without zone is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The UTC moment of a stored number."""
    return EPOCH + micros * _MICROSECOND


def to_json(value: object) -> str:
    """Compact JSON with sorted keys, so that the same slate is the same text."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def decision_row(decision: Decision) -> dict[str, Any]:
    """The row of the table `decisions`."""
    return {
        "decision_id": decision.decision_id,
        "unit_id": decision.unit_id,
        "group": decision.group,
        "at": to_micros(decision.at),
        "campaign": decision.campaign,
        "placement": decision.placement,
        "run_on": None if decision.run_on is None else decision.run_on.isoformat(),
        "bundle_id": decision.bundle_id,
        "slate": to_json(decision.slate),
        "propensities": None if decision.propensities is None else to_json(decision.propensities),
        "withheld_by": decision.withheld_by,
    }


def decision_of(row: Mapping[str, Any]) -> Decision:
    """A row of the table `decisions`, as it was recorded."""
    return Decision(
        decision_id=row["decision_id"],
        unit_id=row["unit_id"],
        group=row["group"],
        at=from_micros(row["at"]),
        bundle_id=row["bundle_id"],
        slate=orjson.loads(row["slate"]),
        campaign=row["campaign"],
        placement=row["placement"],
        run_on=None if row["run_on"] is None else date.fromisoformat(row["run_on"]),
        propensities=None if row["propensities"] is None else orjson.loads(row["propensities"]),
        withheld_by=row["withheld_by"],
    )


def event_row(event: Event) -> dict[str, Any]:
    """The row of the table `events`."""
    return {
        "event_id": event.event_id,
        "decision_id": event.decision_id,
        "offer_id": event.offer_id,
        "unit_id": event.unit_id,
        "product_id": event.product_id,
        "type": event.type,
        "at": to_micros(event.at),
        "payload": to_json(event.payload) if event.payload else None,
        "received_at": None if event.received_at is None else to_micros(event.received_at),
    }


def order_row(order: Order) -> dict[str, Any]:
    """The row of the table `orders`."""
    return {
        "order_id": order.order_id,
        "unit_id": order.unit_id,
        "at": to_micros(order.at),
        "revenue": order.revenue,
        "cost": order.cost,
        "currency": order.currency,
        "lines": to_json(order.lines),
        "returns_of": order.returns_of,
    }
