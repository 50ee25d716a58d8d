"""Purchase logs with dates, as a shop's history: what the lapse and the segment sections are judged on.

Online Retail as the other sections take it; the two elogs hold one product; the dunnhumby fragment is whole
baskets of 79 days. CDNOW is published here as a summary without a holdout, so nothing can be predicted on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.quality.splits import kitchen_of_settings, online_retail

from nextoffer.config import Settings, parse_settings
from nextoffer.features.build import build_features, build_labels
from nextoffer.features.interactions import Features
from nextoffer.models.recipe import Kitchen


@dataclass(frozen=True, slots=True)
class Log:
    """A data set: how it is written as a shop's order file, and the first moment after its last whole day."""

    name: str
    write: Callable[[Path, Path], Settings]
    end: datetime


def _orders(folder: Path, name: str, customer: Any, moment: Any, value: Any) -> Settings:
    frame = pd.DataFrame(
        {
            "order_id": np.arange(len(customer)).astype(str),
            "customer_id": np.asarray(customer).astype(str),
            "product_id": "any",
            "quantity": 1,
            "unit_price": np.asarray(value, dtype=np.float64),
            "ordered_at": pd.to_datetime(moment).astype("datetime64[us]"),
        }
    )
    frame.to_parquet(folder / "orders.parquet")
    return parse_settings(
        {"currency": "EUR", "history": {"orders": {"path": "orders.parquet"}}}, name, folder
    )


def _essec(data: Path, folder: Path) -> Settings:
    frame = pd.read_parquet(data / "purchases_essec/purchases.parquet")
    return _orders(folder, "essec", frame["customer_id"], frame["date_of_purchase"], frame["purchase_amount"])


def _grocery(data: Path, folder: Path) -> Settings:
    frame = pd.read_parquet(data / "grocery_elog/grocery_elog.parquet")
    return _orders(folder, "grocery", frame["cust"], frame["date"], np.ones(len(frame)))


def _fragment(data: Path, folder: Path) -> Settings:
    """Its day 1 is taken as 2020-01-01; it tells no prices."""
    path = data / "dunnhumby_complete_journey/recanet_train_baskets_sample.parquet"
    frame = pd.read_parquet(path).drop_duplicates("basket_id")
    moment = pd.Timestamp("2019-12-31") + pd.to_timedelta(frame["date"], unit="D")
    return _orders(folder, "dunnhumby_fragment", frame["user_id"], moment, np.ones(len(frame)))


LOGS = (
    Log("online_retail", online_retail, datetime(2011, 12, 9, tzinfo=UTC)),
    Log("purchases_essec", _essec, datetime(2016, 1, 1, tzinfo=UTC)),
    Log("grocery_elog", _grocery, datetime(2007, 12, 31, tzinfo=UTC)),
    Log("dunnhumby_fragment", _fragment, datetime(2020, 3, 20, tzinfo=UTC)),
)


@contextmanager
def kitchen_of_log(log: Log, data: Path, as_of: datetime) -> Iterator[Kitchen]:
    """Where the log's history lies, read and checked by the nightly job's own hands."""
    with TemporaryDirectory() as made:
        settings = log.write(data, Path(made))
        with kitchen_of_settings(settings, as_of) as (kitchen, _):
            yield kitchen


def known_at(kitchen: Kitchen, as_of: datetime) -> Features:
    """What the shop knew at a moment."""
    return build_features(kitchen.engine, kitchen.history, kitchen.scratch / "known", as_of)


def ordered_within(kitchen: Kitchen, features: Features, days: int) -> np.ndarray:
    """(n_customers,) bool: who bought, net of returns, in the `days` after the features built last."""
    until = features.as_of + timedelta(days=days)
    bought, _ = build_labels(kitchen.engine, kitchen.scratch / "known", features.as_of, until)
    ordered = np.zeros(len(features.customers), dtype=bool)
    ordered[bought] = True
    return ordered
