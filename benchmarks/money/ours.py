"""nextoffer as a policy of the closed loop: it sees files, trains on them, and its slates go out as messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.config import Settings, parse_settings
from nextoffer.domain.offers import KINDS, Slates
from nextoffer.errors import GateRefusedError
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.recommend import choose_stored
from nextoffer.pipeline import OpenShop, open_shop, train
from nextoffer.simulation.loop import Policy as LoopPolicy
from nextoffer.simulation.visible import Visible
from nextoffer.tracking.reach import YEAR

BASKET_LEVELS = (5, 10, 20)  # per cent off the whole basket, for every kind
TAUGHT_EVERY = 4  # weeks
COLUMNS = {
    "orders": "order_id customer_id product_id quantity unit_price ordered_at unit_cost",
    "products": "product_id title category brand price unit_cost stock repeatable shelf_life_days added_at",
    "customers": "customer_id email birth_date joined_at programme points_balance points_expire_at "
    "locale consent_email",
    "interactions": "customer_id product_id event occurred_at",
    "subscriptions": "customer_id product_id started_at ends_at auto_renew",
}


def nextoffer_policy(folder: Path, told: Callable[[str], None] = lambda _: None) -> LoopPolicy:
    """Trains at the start of each week on what is visible, then writes to whom an offer is worth it.

    Knowledge is new every week; the ranker is taught anew every fourth.
    """
    turns = count()

    def policy(seen: Visible) -> pa.Table:
        settings = write_shop(folder, seen)
        try:
            report = train(settings, seen.now, reteach=next(turns) % TAUGHT_EVERY == 0)
            told(f"week {seen.week}: bundle {report.bundle_id}, {sum(report.seconds.values()):.0f} s")
        except GateRefusedError as refused:  # last week's bundle stays in service, as in any shop
            told(f"week {seen.week}: {refused}")
        opened = open_shop(settings)
        return offers_of(opened, seen)

    return policy


def write_shop(folder: Path, seen: Visible) -> Settings:
    """The visible tables as files, and the configuration over them."""
    folder.mkdir(parents=True, exist_ok=True)
    history = {}
    for name, columns in COLUMNS.items():
        table = getattr(seen, name)
        if table is not None:
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd", compression_level=1)
            history[name] = {
                "path": f"{name}.parquet",
                "columns": {column: column for column in columns.split() if column in table.column_names},
            }
    document = {
        "currency": "EUR",
        "history": history,
        "contact": {"max_per_day": 1, "max_per_week": 2},  # one message a week: the last one was 7 days ago
        "experiment": {"holdout_share": 0.0},
        "incentives": {
            f"basket-{level}": {
                "type": "percent",
                "value": level,
                "scope": "basket",
                "kinds": list(KINDS),
            }
            for level in BASKET_LEVELS
        },
    }
    return parse_settings(document, "the made-up shop", folder)


def offers_of(opened: OpenShop, seen: Visible) -> pa.Table:
    """One message for each customer who may be written to and for whom an offer is worth it."""
    bundle = opened.bundle
    ids = bundle.customer_ids.ids.to_arrow()
    consent = seen.customers.filter(seen.customers["consent_email"])["customer_id"]
    rows = np.flatnonzero(np.asarray(pc.is_in(ids, value_set=consent.combine_chunks())))
    asked = ids.take(pa.array(rows))
    context = Context(
        n=1,
        contact=True,
        messages_today=np.zeros(len(rows), dtype=np.int64),
        messages_week=_messages(seen, asked, timedelta(days=7)),
        event_made=_messages(seen, asked, YEAR, "event") > 0,
    )
    policy = Policy.of(opened.settings)
    return as_offers(opened, policy, asked, choose_stored(bundle, rows, policy, context))


def as_offers(opened: OpenShop, policy: Policy, asked: pa.Array, slates: Slates) -> pa.Table:
    """nextoffer's slates in the columns the shop's `step` reads."""
    product = pa.array(slates.product, mask=slates.product < 0)
    return pa.table(
        {
            "customer_id": asked.take(pa.array(slates.customer)),
            "rank": pa.array(slates.rank),
            "kind": pa.array(KINDS).take(pa.array(slates.kind)),
            "product_id": opened.bundle.catalogue.ids.to_arrow().take(product),
            "level": pa.array(policy.menu.millionths[slates.incentive] / 1e6),
            "basket": pa.array(policy.menu.basket[slates.incentive] | (slates.product < 0)),
            "channel": pa.array(["email"] * len(slates)),
            "propensity": pa.array(np.asarray(slates.propensity, dtype=np.float64)),
        }
    )


def _messages(seen: Visible, asked: pa.Array, within: timedelta, kind: str | None = None) -> np.ndarray:
    """Messages of the last days to each customer, of one kind if it is named."""
    log = seen.exposures
    count = np.zeros(len(asked), dtype=np.int64)
    if log.num_rows == 0:
        return count
    log = log.filter(
        pc.greater_equal(log["occurred_at"], pa.scalar(seen.now - within, log["occurred_at"].type))
    )
    if kind is not None:
        log = log.filter(pc.equal(log["kind"], kind))
    place = pc.index_in(log["customer_id"], value_set=asked)
    known = np.asarray(place.drop_null(), dtype=np.int64)
    return np.bincount(known, minlength=len(asked))
