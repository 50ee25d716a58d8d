"""Reading a bundle: slates for analysts, every customer's offers as a table, segments. Records nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from nextoffer.bundle.bundle import Bundle, open_bundle
from nextoffer.config import Settings
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import KIND, KINDS, REASONS, Slate, SlateRequest, Slates
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import RequestError
from nextoffer.models.segment_names import segment_table
from nextoffer.offers.by_hand import Reach, with_rules
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.recommend import choose_stored, recommend
from nextoffer.pipeline.selftest import verify_self_test
from nextoffer.tracking.holdout import groups

BLOCK = 50_000

SLATE_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("rank", pa.int32()),
        ("kind", pa.string()),
        ("product_id", pa.string()),
        ("p_buy", pa.float32()),
        ("expected_profit", pa.float64()),
        ("incentive", pa.string()),
        ("reason_code", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class OpenShop:
    """A shop's settings with its bundle in service, verified and self-tested, and what the marketer's rules reach."""

    settings: Settings
    bundle: Bundle
    policy: Policy
    by_hand: Reach | None = None


def open_shop(settings: Settings, signing_key: str | None = None, today: date | None = None) -> OpenShop:
    """Open the bundle in service, with the marketer's rules of a day; default: the day the bundle was learned.

    Raises
    ------
    NoBundleError, BundleCorruptError, BundleFormatError
    BundleError : it was learned in another currency
    ConfigError : offers.toml has faults
    """
    bundle = open_bundle(
        settings.models_dir,
        signing_key=signing_key,
        self_test=verify_self_test,
        currency=settings.currency,
    )
    day = today or bundle.as_of.astimezone(settings.zone).date()
    return OpenShop(settings, bundle, *with_rules(settings, bundle, day))


def recommend_one(shop: OpenShop, request: SlateRequest, now: datetime) -> tuple[Slate, str]:
    """One slate for analysis, and the customer's experiment group. Ignores holdout, consent and caps.

    Raises
    ------
    RequestError : the bundle does not know the customer
    """
    customer_id = request.customer_id or ""
    if shop.bundle.customer_row(customer_id) < 0:
        ids = shop.bundle.customer_ids.ids
        raise RequestError(
            f"customer {customer_id!r} has no purchase before {shop.bundle.as_of:%Y-%m-%d} in bundle "
            f"{shop.bundle.bundle_id} ({len(ids):,} customers, such as {ids[0]!r}). The API answers unknown "
            "customers with what is popular; this command explains known ones.",
            field="customer_id",
        )
    settings = shop.settings
    slate = recommend(shop.bundle, shop.policy, request, now, shop.by_hand)
    held_out = bool(groups(settings.experiment, [customer_id])[0])
    return slate, "holdout" if held_out else "treated"


def recommend_all(
    shop: OpenShop, out: Path, n: int | None, kinds: tuple[str, ...] | None, order_by: str
) -> int:
    """Write every customer's ranked offers as Parquet (SLATE_SCHEMA); returns the number of rows."""
    context = Context(n=n, kinds=None if kinds is None else tuple(KIND[kind] for kind in kinds))
    policy = replace(shop.policy, order_by=order_by)
    partial = out.with_name(f".{out.name}.part")
    n_rows = 0
    try:
        with pq.ParquetWriter(partial, SLATE_SCHEMA, compression="zstd") as writer:
            for rows in _blocks(shop.bundle):
                slates = choose_stored(shop.bundle, rows, policy, context, shop.by_hand)
                writer.write_table(_slate_table(shop.bundle, policy.menu, rows, slates))
                n_rows += len(slates)
        partial.replace(out)
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error.strerror or error}", field="out") from None
    finally:
        partial.unlink(missing_ok=True)
    return n_rows


def segment_rows(shop: OpenShop) -> list[dict[str, Any]]:
    """Sizes and RFM ranges of the segments."""
    customers = shop.bundle.knowledge.customers
    return segment_table(
        np.asarray(customers.segment),
        np.asarray(customers.recency_days),
        np.asarray(customers.frequency),
        np.asarray(customers.monetary),
    )


def segment_columns(shop: OpenShop) -> pa.Table:
    """One row per customer: segment, RFM, chances of buying, of lapsing, and expected value."""
    customers = shop.bundle.knowledge.customers
    names = ("recency_days", "frequency", "monetary", "p_buy_28", "p_buy_90", "p_lapsed", "expected_value")
    return pa.table(
        {
            "customer_id": _ids(shop.bundle, np.arange(len(customers))),
            "segment": np.array(SEGMENTS, dtype=object)[np.asarray(customers.segment)],
            **{name: np.asarray(getattr(customers, name)) for name in names},
        }
    )


def write_table(table: pa.Table, out: Path) -> None:
    """Write a table as CSV or, for any other ending, Parquet.

    Raises
    ------
    RequestError : the file cannot be written
    """
    try:
        if out.suffix.lower() == ".csv":
            pacsv.write_csv(table, out)
        else:
            pq.write_table(table, out, compression="zstd")
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error.strerror or error}", field="out") from None


def _slate_table(bundle: Bundle, menu: Menu, rows: np.ndarray, slates: Slates) -> pa.Table:
    def words(names: tuple[str, ...], codes: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), list(names)).cast(pa.string())

    texts = pa.array([menu.text(row) for row in range(len(menu))])
    products = pa.array(slates.product, mask=slates.product < 0)
    columns = [
        _ids(bundle, rows[slates.customer]),
        slates.rank,
        words(KINDS, slates.kind),
        bundle.catalogue.ids.to_arrow().take(products),
        slates.p_buy,
        slates.expected_profit,
        texts.take(pa.array(slates.incentive)),
        words(REASONS, slates.reason),
    ]
    return pa.table(columns, schema=SLATE_SCHEMA)


def _ids(bundle: Bundle, rows: np.ndarray) -> pa.Array:
    return bundle.customer_ids.ids.to_arrow().take(pa.array(rows))


def _blocks(bundle: Bundle) -> Iterator[np.ndarray]:
    n = len(bundle.customer_ids.ids)
    return (np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
