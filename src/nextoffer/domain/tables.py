"""The canonical tables: what every source becomes, column by column.

Ids are strings, moments are UTC, `unit_price` and `unit_cost` are exact decimals in the shop's currency, and
amounts that are accounted for (`line_discount`, `order_discount`, `revenue`, `cost`) are integer minor units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from nextoffer.config import Segment

ColumnType = Literal[
    "id", "text", "quantity", "price", "money", "moment", "date", "integer", "number", "flag"
]

SQL_TYPES: dict[ColumnType, str] = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "quantity": "DECIMAL(18,3)",
    "price": "DECIMAL(18,4)",
    "money": "BIGINT",
    "moment": "TIMESTAMP",
    "date": "DATE",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "flag": "BOOLEAN",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One canonical column: its type, whether a row needs it, and what it means."""

    name: str
    type: ColumnType
    meaning: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One canonical table."""

    name: str
    per_row: str
    columns: tuple[Column, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns no row may lack."""
        return tuple(column.name for column in self.columns if column.required)

    def column(self, name: str) -> Column | None:
        """The column of that name, if the table has it."""
        return next((column for column in self.columns if column.name == name), None)


ORDERS = Table(
    "orders",
    "order line",
    (
        Column("order_id", "id", "the order (receipt, invoice) the line belongs to", required=True),
        Column("customer_id", "id", "who bought; empty for a guest"),
        Column("product_id", "id", "what was bought", required=True),
        Column("quantity", "quantity", "how many; negative for a return", required=True),
        Column("unit_price", "price", "paid per unit, before the order's discount", required=True),
        Column("ordered_at", "moment", "when", required=True),
        Column("line_discount", "money", "taken off this line"),
        Column("order_discount", "money", "taken off the whole order, repeated on its lines"),
        Column("unit_cost", "price", "what one unit costs the shop"),
        Column("promo_code", "text", "code used with the order"),
        Column("points_spent", "integer", "loyalty points spent on the order"),
        Column("channel", "text", "where it was sold"),
        Column("store_id", "id", "the shop it was sold in"),
        Column("status", "text", "cancelled, voided and failed orders are left out"),
    ),
)
PRODUCTS = Table(
    "products",
    "product",
    (
        Column("product_id", "id", "the product", required=True),
        Column("title", "text", "its name"),
        Column("url", "text", "its page"),
        Column("image_url", "text", "its picture"),
        Column("category", "text", "path, as in A > B > C"),
        Column("brand", "text", "its brand"),
        Column("price", "price", "list price today"),
        Column("unit_cost", "price", "what one unit costs the shop"),
        Column("stock", "number", "units on hand; empty = not tracked"),
        Column("repeatable", "flag", "may be offered again right after a purchase"),
        Column("shelf_life_days", "number", "how long one unit lasts"),
        Column("restricted", "flag", "must never be promoted"),
        Column("hidden", "flag", "not shown now"),
        Column("added_at", "moment", "when it entered the range"),
    ),
)
CUSTOMERS = Table(
    "customers",
    "customer",
    (
        Column("customer_id", "id", "the customer", required=True),
        Column("email", "text", "address for e-mail"),
        Column("phone", "text", "number for messages"),
        Column("push_token", "text", "device token for push"),
        Column("first_name", "text", "first name"),
        Column("birth_date", "date", "birthday"),
        Column("joined_at", "moment", "when they joined the loyalty programme"),
        Column("programme", "text", "loyalty programme; empty = not a member"),
        Column("points_balance", "integer", "points they hold"),
        Column("points_expire_at", "moment", "when the next points expire"),
        Column("referred_by", "id", "who brought them"),
        Column("locale", "text", "language, as in en or ru-RU"),
        Column("consent_email", "flag", "may be e-mailed; empty = no"),
        Column("consent_push", "flag", "may get push messages; empty = no"),
        Column("consent_sms", "flag", "may get text messages; empty = no"),
        Column("consent_ads", "flag", "may be put in ad audiences; empty = no"),
    ),
)
INTERACTIONS = Table(
    "interactions",
    "event",
    (
        Column("customer_id", "id", "who, if known"),
        Column("visitor_id", "id", "which visitor, if the customer is not known"),
        Column("product_id", "id", "the product", required=True),
        Column("event", "text", "detail-page-view, add-to-cart or remove-from-cart", required=True),
        Column("occurred_at", "moment", "when", required=True),
    ),
)
SUBSCRIPTIONS = Table(
    "subscriptions",
    "subscription",
    (
        Column("customer_id", "id", "the subscriber", required=True),
        Column("product_id", "id", "what is subscribed to", required=True),
        Column("started_at", "moment", "first day", required=True),
        Column("ends_at", "moment", "last day", required=True),
        Column("auto_renew", "flag", "renews by itself"),
    ),
)
SURVEYS = Table(
    "surveys",
    "answer or review",
    (
        Column("customer_id", "id", "who answered"),
        Column("kind", "text", "nps, csi or review", required=True),
        Column("aspect", "text", "what the answer is about"),
        Column("product_id", "id", "the product reviewed"),
        Column("score", "number", "the answer", required=True),
        Column("comment", "text", "free text"),
        Column("answered_at", "moment", "when", required=True),
    ),
)
TABLES: dict[str, Table] = {
    table.name: table for table in (ORDERS, PRODUCTS, CUSTOMERS, INTERACTIONS, SUBSCRIPTIONS, SURVEYS)
}
EVENTS = ("detail-page-view", "add-to-cart", "remove-from-cart")
SEGMENTS: tuple[str, ...] = get_args(Segment)
