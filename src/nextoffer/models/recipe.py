"""The recipe: features of one moment -> knowledge, and models taught by what was bought after a moment.

Training and backtest cook by the same recipe; they differ only in the dates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from nextoffer.domain.arrays import Floats, Strings
from nextoffer.engines.engine import Engine
from nextoffer.features.build import build_features, build_labels
from nextoffer.features.catalogue import Catalogue
from nextoffer.models.activity import OrderLog, customers_of, order_log
from nextoffer.models.knowledge import Customers, Knowledge, learn, rfm_columns
from nextoffer.models.lapse import Lapse, fit_lapse, p_order
from nextoffer.models.lifetime import Lifetime
from nextoffer.models.ranker import Lesson
from nextoffer.models.segment_quality import compare_with_quintiles
from nextoffer.models.segments import Codes, Segments, last_night, settled_codes
from nextoffer.models.taught import Taught, fit_taught

MAX_TAUGHT = 40_000  # customers the models learn from and are judged on; a larger shop is sampled evenly
MAX_LESSONS = 25_000  # customers of all lessons together: more told nothing more (Ta-Feng, dunnhumby)
MAX_CUTS = 3
QUARTER_DAYS = 91  # what customers spent in it tells how much the segments say


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One moment of the past: what could be known then, and what was bought in the horizon after it.

    `log` are the orders before it.
    """

    as_of: datetime
    customer_ids: Strings
    lesson: Lesson
    log: OrderLog


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Where the recipe is cooked: the engine, the canonical tables, scratch space, the shop's constants.

    `catalogue_at` gives the catalogue as it could be known at an earlier moment, for a shop whose prices are
    read from its order lines.
    """

    engine: Engine
    history: Path
    scratch: Path
    catalogue: Catalogue
    horizon_days: int
    seed: int
    progress: Callable[[str], None] = lambda stage: None
    catalogue_at: Callable[[datetime], Catalogue] | None = None

    def known(self, as_of: datetime) -> Catalogue:
        """The catalogue as it could be known at `as_of`."""
        return self.catalogue if self.catalogue_at is None else self.catalogue_at(as_of)


@dataclass(slots=True)
class Past:
    """Cuts of the past, each learned once: on every stride-th customer, so that a cut stays small."""

    kitchen: Kitchen
    first_order_at: datetime
    stride: int
    n_cuts: int
    cuts: dict[datetime, Cut] = field(default_factory=dict)

    @classmethod
    def of(cls, kitchen: Kitchen, first_order_at: datetime, as_of: datetime | None = None) -> Past:
        """As many cuts of the customers known at `as_of` as MAX_LESSONS allows: small shops have more."""
        moment = (as_of or datetime.max.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
        table = kitchen.engine.arrow(
            f"SELECT COUNT(DISTINCT customer_id) AS n FROM orders WHERE ordered_at < TIMESTAMP '{moment}'"
        )
        n_customers = max(int(table["n"][0].as_py()), 1)
        n_cuts = min(max(MAX_LESSONS // n_customers, 1), MAX_CUTS)
        return cls(kitchen, first_order_at, -(-n_customers // MAX_TAUGHT), n_cuts)

    def cut(self, as_of: datetime) -> Cut:
        """Learn before `as_of`, and note what was bought in the horizon after it."""
        if as_of not in self.cuts:
            kitchen = self.kitchen
            kitchen.progress(f"learning as of {as_of:%Y-%m-%d}")
            folder = kitchen.scratch / f"cut-{as_of:%Y-%m-%dT%H%M}"
            until = as_of + timedelta(days=kitchen.horizon_days)
            features = build_features(kitchen.engine, kitchen.history, folder, as_of, self.stride)
            bought = build_labels(kitchen.engine, folder, as_of, until)
            knowledge = learn(features, kitchen.known(as_of), kitchen.horizon_days, kitchen.seed)
            log = order_log(features.shop_orders, kitchen.catalogue.digits)
            self.cuts[as_of] = Cut(as_of, features.customers, Lesson(knowledge, *bought), log)
        return self.cuts[as_of]

    def lessons(self, as_of: datetime) -> list[Lesson]:
        """Those whose horizon ended by `as_of`, newest first; none where the history is too short.

        The first horizon of the history only feeds the others: nothing is known before it.
        """
        horizon = timedelta(days=self.kitchen.horizon_days)
        moments = [as_of - horizon * back for back in range(1, self.n_cuts + 1)]
        return [self.cut(moment).lesson for moment in moments if moment - self.first_order_at >= horizon]

    def taught(self, as_of: datetime) -> Taught:
        """What the lessons that ended by `as_of` teach."""
        return fit_taught(self.lessons(as_of), as_of, self.kitchen.horizon_days, self.kitchen.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """What last night leaves for tonight: the clusters, and each customer's published and nearest name."""

    segments: Segments
    customer_ids: Strings
    segment: Codes
    segment_candidate: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Everything known tonight, of every customer; `quality` tells how good the parts no cut-off judges are."""

    customer_ids: Strings
    knowledge: Knowledge
    quality: dict[str, Any]


def learn_all(kitchen: Kitchen, as_of: datetime, before: Before | None) -> Learned:
    """Ids and knowledge of every customer, for the bundle: chances calibrated, names of segments settled."""
    features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "all", as_of)
    settings = kitchen.horizon_days, kitchen.seed
    previous = before.segments if before else None
    knowledge = learn(features, kitchen.catalogue, *settings, previous, kitchen.progress)
    kitchen.progress("chances")
    log = order_log(features.shop_orders, kitchen.catalogue.digits)
    lapse = fit_lapse(log, (kitchen.horizon_days, 28, 90, 180), kitchen.seed)
    customers = _calibrated(knowledge.customers, lapse, log, knowledge.lifetime, kitchen.horizon_days)
    if before is not None:
        last = last_night(features.customers, before.customer_ids, before.segment, before.segment_candidate)
        columns = rfm_columns(features, kitchen.catalogue.digits)
        names = settled_codes(knowledge.segments, customers.segment_candidate, last, *columns)
        customers = replace(customers, segment=names)
    quality = {
        "lapse": [chance.to_json() for chance in lapse.chances],
        "segments": compare_with_quintiles(knowledge.segments, log, QUARTER_DAYS),
    }
    return Learned(features.customers, replace(knowledge, customers=customers), quality)


def calibrated_p_order(cut: Cut, horizon_days: int, seed: int) -> Floats:
    """(n_customers,) P(any order within the horizon), learned from the orders before the cut alone."""
    customers, lifetime = cut.lesson.knowledge.customers, cut.lesson.knowledge.lifetime
    lapse = fit_lapse(cut.log, (horizon_days,), seed)
    return _calibrated(customers, lapse, cut.log, lifetime, horizon_days).p_order


def _calibrated(
    customers: Customers, lapse: Lapse, log: OrderLog, lifetime: Lifetime, horizon_days: int
) -> Customers:
    """Chances of an order as `lapse` has learned them, for the horizons it knows."""
    found, rows = p_order(lapse, log, lifetime), customers_of(log)

    def chance(days: int, raw: Floats) -> Floats:
        if days not in lapse.days:
            return raw
        column = np.asarray(raw, dtype=np.float32).copy()
        column[rows] = found[:, lapse.days.index(days)]
        return column

    return replace(
        customers,
        p_order=chance(horizon_days, customers.p_order),
        p_buy_28=chance(28, customers.p_buy_28),
        p_buy_90=chance(90, customers.p_buy_90),
        p_lapsed=1.0 - chance(180, 1.0 - customers.p_lapsed),
    )
