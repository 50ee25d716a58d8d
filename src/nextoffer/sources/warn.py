"""What is not wrong with a history but worth saying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nextoffer.domain.history import History
from nextoffer.sources.files import quoted
from nextoffer.texts import Said, said, said_many

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHANNELS = {"consent_email": "email", "consent_push": "push", "consent_sms": "sms", "consent_ads": "ads"}


def warnings_of(con: DuckDBPyConnection, history: History) -> list[Said]:
    """Sentences for the report, the most important first."""
    found = []
    days = (history.last_order_at - history.first_order_at).days
    if days < 365:
        found.append(
            said_many(
                "the history covers {n} day, less than a year: seasons and slow products cannot be seen yet",
                "the history covers {n} days, less than a year: seasons and slow products cannot be seen yet",
                days,
            )
        )
    found += _orders(con, history)
    if "products" in history.given:
        absent = _one(con, "SELECT count(*) FROM sold ANTI JOIN known USING (product_id)")
        if absent:
            found.append(
                said_many(
                    "{n} product was sold but is not in the products table: "
                    "it trains the models and is never recommended",
                    "{n} products were sold but are not in the products table: "
                    "they train the models and are never recommended",
                    absent,
                )
            )
    return [*found, *_consents(con, history)]


def _read(history: History, table: str) -> str:
    return f"read_parquet('{quoted(history.folder / f'{table}.parquet')}')"


def _one(con: DuckDBPyConnection, query: str) -> int:
    return int(con.execute(query).fetchall()[0][0])


def _orders(con: DuckDBPyConnection, history: History) -> list[Said]:
    found = []
    duplicates = history.reports["orders"].duplicates
    if duplicates:
        found.append(
            said_many(
                "{n} order line repeats another exactly; it is kept, as many shops have no line id",
                "{n} order lines repeat another exactly; they are kept, as many shops have no line id",
                duplicates,
            )
        )
    ids = {
        "product_id": "SELECT product_id AS id FROM sold",
        "customer_id": f"SELECT DISTINCT customer_id AS id FROM {_read(history, 'orders')}",
    }
    for column, listed in ids.items():
        mixed = _one(con, f"SELECT count(id) - count(DISTINCT lower(id)) FROM ({listed})")
        if mixed:
            found.append(
                said_many(
                    "{n} value of {column} differs from another only in upper and lower case; "
                    "they count as different",
                    "{n} values of {column} differ from another only in upper and lower case; "
                    "they count as different",
                    mixed,
                    column=column,
                )
            )
    return found


def _consents(con: DuckDBPyConnection, history: History) -> list[Said]:
    if "customers" not in history.given:
        return [
            said(
                "there is no customers table: no consent is known, so exports will be empty; "
                "map [history.customers] with email and consent_email"
            )
        ]
    asked = ", ".join(f"count(*) FILTER ({column})" for column in CHANNELS)
    counts = con.execute(f"SELECT {asked} FROM {_read(history, 'customers')}").fetchall()[0]
    if any(counts):
        return []
    return [
        said(
            "no customer consents to anything: exports will be empty; "
            "map consent_email under [history.customers]"
        )
    ]
