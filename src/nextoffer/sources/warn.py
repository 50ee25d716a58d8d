"""What is not wrong with a history but worth saying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nextoffer.domain.history import History
from nextoffer.sources.files import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHANNELS = {"consent_email": "email", "consent_push": "push", "consent_sms": "sms", "consent_ads": "ads"}


def warnings_of(con: DuckDBPyConnection, history: History) -> list[str]:
    """Sentences for the report, the most important first."""
    found = []
    days = (history.last_order_at - history.first_order_at).days
    if days < 365:
        found.append(
            f"the history covers {days} days, less than a year: seasons and slow products cannot be seen yet"
        )
    found += _orders(con, history)
    if "products" in history.given:
        absent = _one(con, "SELECT count(*) FROM sold ANTI JOIN known USING (product_id)")
        if absent:
            found.append(
                f"{absent:,} products were sold but are not in the products table: they train the models "
                f"and are never recommended"
            )
    return [*found, *_consents(con, history)]


def _read(history: History, table: str) -> str:
    return f"read_parquet('{quoted(history.folder / f'{table}.parquet')}')"


def _one(con: DuckDBPyConnection, query: str) -> int:
    return int(con.execute(query).fetchall()[0][0])


def _orders(con: DuckDBPyConnection, history: History) -> list[str]:
    found = []
    duplicates = history.reports["orders"].duplicates
    if duplicates:
        found.append(
            f"{duplicates:,} order lines repeat another exactly; they are kept, as many shops have no line id"
        )
    ids = {
        "product_id": "SELECT product_id AS id FROM sold",
        "customer_id": f"SELECT DISTINCT customer_id AS id FROM {_read(history, 'orders')}",
    }
    for column, listed in ids.items():
        mixed = _one(con, f"SELECT count(id) - count(DISTINCT lower(id)) FROM ({listed})")
        if mixed:
            found.append(
                f"{mixed:,} values of {column} differ from another only in upper and lower case; they "
                f"count as different"
            )
    return found


def _consents(con: DuckDBPyConnection, history: History) -> list[str]:
    if "customers" not in history.given:
        return [
            "there is no customers table: no consent is known, so exports will be empty; "
            "map [history.customers] with email and consent_email"
        ]
    asked = ", ".join(f"count(*) FILTER ({column})" for column in CHANNELS)
    counts = con.execute(f"SELECT {asked} FROM {_read(history, 'customers')}").fetchall()[0]
    if any(counts):
        return []
    return [
        "no customer consents to anything: exports will be empty; map consent_email under [history.customers]"
    ]
