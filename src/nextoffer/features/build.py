"""Canonical tables + as_of -> feature tables, one SQL file each, then numpy columns."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from nextoffer.engines.engine import Engine
from nextoffer.errors import TooLittleHistoryError
from nextoffer.features.catalogue import Catalogue, priced_at, read_catalogue
from nextoffer.features.interactions import Features, Int32, load_features, load_labels

SQL_FILES = (
    "products_index",
    "customers_known",
    "orders_known",
    "lines",
    "net_lines",
    "customers_index",
    "purchases",
    "shop_orders",
    "baskets",
    "pairs",
    "rfm",
    "cooccurrence",
    "popularity",
)
"""The feature tables, each reading only canonical tables and those before it."""


def build_features(
    engine: Engine,
    history_folder: Path,
    out: Path,
    as_of: datetime,
    stride: int = 1,
    half_life_days: float = 90.0,
) -> Features:
    """What the shop's history says at `as_of`: writes each feature table to `out`, returns them as columns.

    Parameters
    ----------
    engine : runs the SQL; afterwards every feature table can be read from it by name
    history_folder : canonical Parquet tables, at least orders and products
    out : folder for `<table>.parquet`, made if missing
    as_of : aware; the first moment that is not known
    stride : keep every stride-th customer in the order of ids; above 1 guests are left out
    half_life_days : age at which an order counts half in `pairs.weight`

    Raises
    ------
    TooLittleHistoryError : no customer bought and kept anything before `as_of`.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of must carry a time zone, got {as_of.isoformat()}")
    out.mkdir(parents=True, exist_ok=True)
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    params = {"as_of": moment, "stride": stride, "half_life_days": half_life_days}
    engine.tables(history_folder)
    for name in SQL_FILES:
        engine.sql(sql_text(name), params, out / f"{name}.parquet")
        if name == "customers_index":
            _require_customers(engine, as_of)
    return load_features(out, as_of, stride, half_life_days)


def sql_text(name: str) -> str:
    """The SQL of one feature table."""
    return files("nextoffer.features").joinpath(f"{name}.sql").read_text("utf-8")


def _require_customers(engine: Engine, as_of: datetime) -> None:
    if engine.arrow("SELECT COUNT(*) AS n FROM customers_index")["n"][0].as_py() > 0:
        return
    span = engine.arrow(
        "SELECT COUNT(customer_id) AS n, CAST(MIN(ordered_at) AS VARCHAR) AS first,"
        " CAST(MAX(ordered_at) AS VARCHAR) AS last FROM orders"
    ).to_pylist()[0]
    if not span["n"]:
        found = "no order line names a customer; map the column customer_id under [history.orders]"
    else:
        found = (
            f"the order lines run from {span['first']} to {span['last']} UTC; "
            "choose a later --as-of, or give an older history"
        )
    raise TooLittleHistoryError(f"No customer bought and kept anything before {as_of.isoformat()}: {found}.")


def build_labels(engine: Engine, out: Path, as_of: datetime, until: datetime) -> tuple[Int32, Int32]:
    """What the customers of the features built last bought from `as_of` until `until`: rows of distinct pairs.

    Returns
    -------
    (n,) customer rows and (n,) product rows, sorted by customer, then product
    """
    moments = [moment.astimezone(UTC).replace(tzinfo=None) for moment in (as_of, until)]
    params = dict(zip(("as_of", "until"), moments, strict=True))
    engine.sql(sql_text("labels"), params, out / "labels.parquet")
    return load_labels(out)


def known_catalogue(
    engine: Engine, out: Path, as_of: datetime, currency: str, margin_share: float, derived: bool
) -> Catalogue:
    """The catalogue as it may be known at `as_of`; `derived` where the shop gives no product table."""
    catalogue = read_catalogue(engine, currency, margin_share)
    if not derived:
        return catalogue
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    engine.sql(sql_text("last_price"), {"as_of": moment}, out / "last_price.parquet")
    table = engine.arrow("SELECT product_id, unit_price FROM last_price ORDER BY product_id")
    ids, prices = (table[name].combine_chunks() for name in ("product_id", "unit_price"))
    return priced_at(catalogue, ids, prices, margin_share)
