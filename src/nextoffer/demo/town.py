"""The made-up shop of the demo: its files, its configuration, and the weeks lived through under its offers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.config import Settings, load_settings
from nextoffer.errors import ConfigError
from nextoffer.simulation import dirt
from nextoffer.simulation.effect import planted
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop, StepRows
from nextoffer.simulation.words import FEES
from nextoffer.tracking.schema import TREATED, Decision

CAMPAIGN = "monday-mail"
MARK = ".nextoffer-demo"  # a folder that holds this file is a demo's, and may be made again
OURS = ("shop", "models", "var", "campaigns", "nextoffer.toml")
PRODUCTS, WEEKS = 600, 78
EFFECT = 10.0  # a real shop's offers move far less; a small shop could not see that within weeks

CONFIG = """\
# The demo's shop: what your own nextoffer.toml will look like. Anything left out has a sensible default.

currency = "EUR"                  # of all amounts
timezone = "UTC"                  # of moments that do not say theirs
seed = {seed}                          # the same data and seed always give the same bundle
exclude_products = [{fees}]   # postage and fees are no goods

[history.orders]                  # the only table you must have: ours = "yours"
path = "shop/orders*.csv"

[history.orders.columns]
order_id = "order_id"
customer_id = "customer_id"
product_id = "product_id"
quantity = "quantity"
unit_price = "unit_price"
ordered_at = "ordered_at"
unit_cost = "unit_cost"           # without costs, margins are assumed: see [margin]

[history.products]                # what is on sale now, and how it is displayed
path = "shop/products.parquet"

[history.products.columns]
product_id = "product_id"
title = "title"
category = "category"
brand = "brand"
price = "price"
unit_cost = "unit_cost"
url = "url"
image_url = "image_url"
stock = "stock"
repeatable = "repeatable"         # may be offered again soon: food and other things that run out
shelf_life_days = "shelf_life_days"

[history.customers]               # who may be written to, and where
path = "shop/customers.parquet"

[history.customers.columns]
customer_id = "customer_id"
email = "email"
first_name = "first_name"
locale = "locale"
consent_email = "consent_email"   # an empty consent is a no
birth_date = "birth_date"         # for offers at a birthday; its year is not kept
points_balance = "points_balance"
points_expire_at = "points_expire_at"

[history.interactions]            # what customers looked at and put in the cart
path = "shop/interactions*.parquet"

[history.interactions.columns]
customer_id = "customer_id"
product_id = "product_id"
event = "event"
occurred_at = "occurred_at"

[history.subscriptions]           # passes that end, and may be renewed
path = "shop/subscriptions*.parquet"

[history.subscriptions.columns]
customer_id = "customer_id"
product_id = "product_id"
started_at = "started_at"
ends_at = "ends_at"
auto_renew = "auto_renew"

[experiment]                      # some customers get no offers, so that the effect can be measured
holdout_share = 0.25              # a small shop sees nothing without a large holdout; the default is 0.05

[incentives.birthday-points]      # what offers of these kinds may carry, if it is expected to pay
type = "points"
value = 100
kinds = ["event"]

[campaigns.{campaign}]          # nextoffer export {campaign} --out FILE
channel = "email"
format = "csv"                    # or "mailchimp", "unisender"
n = 3                             # offers in one message
"""


@dataclass(slots=True, eq=False)
class Town:
    """A shop whose truth is known, and a twin that never makes an offer; both live week by week."""

    folder: Path
    settings: Settings
    shop: Shop
    order_lines: int
    twin: Shop | None = None
    lived: list[StepRows] = field(default_factory=list)
    lived_without: list[StepRows] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The shop's own present, Monday 00:00: the demo never asks what day it really is."""
        return self.shop.end + timedelta(weeks=len(self.lived))

    def live_week(self, decisions: list[Decision]) -> tuple[StepRows, Path]:
        """One week under these decisions: its orders join the shop's files, its events become one file.

        Only treated customers are sent anything. Returns the week and the file of events for `record`.
        """
        if self.twin is None:
            self.twin = self.shop.fork()
        offers = offer_table(decisions, self.now)
        day, week = self.now.date(), self.shop.week
        self.lived_without.append(self.twin.step(week))
        rows = self.shop.step(week, offers)
        dirt.write_csv(self.folder / "shop" / f"orders-{day}.csv", _as_csv(rows.orders))
        for name, seen in (("interactions", rows.interactions), ("subscriptions", rows.subscriptions)):
            if seen is not None:
                pq.write_table(seen, self.folder / "shop" / f"{name}-{day}.parquet")
        events = self.folder / "campaigns" / f"{CAMPAIGN}-{day}-events.csv"
        pa.csv.write_csv(event_table(rows, offers), events)
        self.lived.append(rows)
        return rows, events

    def planted(self) -> pa.Table:
        """What the offers really caused, customer by customer; only a made-up shop can say."""
        return planted(self.lived, self.lived_without)


def make_town(customers: int, seed: int, folder: Path) -> Town:
    """Make the shop and write its files.

    Raises
    ------
    ConfigError : the folder is there and is not a demo's, or it cannot be written
    """
    clear(folder)
    try:
        (folder / "campaigns").mkdir(parents=True)
        (folder / MARK).write_text("Made by nextoffer demo, which may overwrite it.\n", encoding="utf-8")
        names = {"seed": seed, "campaign": CAMPAIGN, "fees": ", ".join(f'"{fee}"' for fee in FEES)}
        (folder / "nextoffer.toml").write_text(CONFIG.format(**names), encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(folder), [f"cannot be written: {error.strerror or error}"]) from None
    made = ShopSettings(
        customers=customers,
        products=PRODUCTS,
        weeks=WEEKS,
        start_on="2025-01-06",
        dirty=True,
        interactions=True,
        subscriptions=True,
        offer_effect=EFFECT,
    )
    shop = Shop(made, world_seed=seed, luck_seed=seed)
    paths = shop.write_history(folder / "shop")
    return Town(folder, load_settings(folder / "nextoffer.toml"), shop, paths.order_lines)


def clear(folder: Path) -> None:
    """Remove what an earlier demo made; refuse a folder that holds anything else.

    Raises
    ------
    ConfigError : the folder is there and is not a demo's
    """
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise ConfigError(
            str(folder), ["it is there already and no demo made it; choose another folder with --dir"]
        )
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def offer_table(decisions: list[Decision], sent_at: datetime) -> pa.Table:
    """What a campaign's treated customers are sent, one row an offer, best first; the holdout gets nothing."""
    offers = [
        {
            "customer_id": decision.unit_id,
            "kind": offer["kind"],
            "product_id": offer["product_id"],
            "level": float(1 - Decimal(offer["final_price"]) / Decimal(offer["list_price"])),
            "sent_at": sent_at,
            "attribution_token": decision.decision_id,
            "offer_id": offer["offer_id"],
        }
        for decision in decisions
        if decision.group == TREATED
        for offer in decision.slate
    ]
    names = ("customer_id", "kind", "product_id", "level", "sent_at", "attribution_token", "offer_id")
    types = [pa.string()] * 3 + [pa.float64(), pa.timestamp("us", tz="UTC")] + [pa.string()] * 2
    return pa.Table.from_pylist(offers, schema=pa.schema(list(zip(names, types, strict=True))))


def event_table(rows: StepRows, offers: pa.Table) -> pa.Table:
    """What the mail service and the till report of a week: shown, clicked and used offers, as `record` reads."""
    sent = offers.select(["customer_id", "kind", "product_id", "attribution_token", "offer_id"])
    keys = ["customer_id", "kind", "product_id"]
    # An incentive is used on whatever is bought; it came with the first offer of the message.
    first = sent.take(pc.index_in(rows.redemptions["customer_id"], value_set=sent["customer_id"]))
    used = first.append_column("occurred_at", rows.redemptions["occurred_at"])
    used = used.group_by(sent.column_names, use_threads=False).aggregate([("occurred_at", "min")])
    parts = [
        _events("promotion-offered", rows.exposures.join(sent, keys, join_type="inner")),
        _events("promotion-clicked", rows.clicks.join(sent, keys, join_type="inner")),
        _events("promotion-redeemed", used.rename_columns([*sent.column_names, "occurred_at"])),
    ]
    return pa.concat_tables(parts).sort_by([("occurred_at", "ascending"), ("event_id", "ascending")])


def _events(kind: str, rows: pa.Table) -> pa.Table:
    named = pc.binary_join_element_wise(kind, rows["attribution_token"], rows["offer_id"], "-")
    return pa.table(
        {
            "event_id": named,
            "event_type": pa.array([kind]).take(pa.array([0] * rows.num_rows, pa.int64())),
            "occurred_at": pc.strftime(_seconds(rows["occurred_at"]), "%Y-%m-%dT%H:%M:%SZ"),
            **{
                name: rows[name].combine_chunks()
                for name in ("customer_id", "attribution_token", "offer_id", "product_id")
            },
        }
    )


def _as_csv(orders: pa.Table) -> pa.Table:
    """Order lines as the shop's own file has them: moments without zone, to the second."""
    at = orders.column_names.index("ordered_at")
    moments = pc.strftime(_seconds(orders["ordered_at"]), "%Y-%m-%d %H:%M:%S")
    return orders.set_column(at, "ordered_at", moments)


def _seconds(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments in UTC, without zone, cut to the second."""
    return moments.cast(pa.timestamp("us")).cast(pa.timestamp("s"), safe=False)
