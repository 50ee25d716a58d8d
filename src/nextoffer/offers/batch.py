"""A batch of customers with everything they might buy: what offer kinds choose their candidates from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Settings
from nextoffer.domain.arrays import Bools, Floats, Ints, best_of_each
from nextoffer.domain.offers import KIND, REASON, Candidates
from nextoffer.models.ranker import Scored, score_batch

PER_KIND = 6  # candidates of a kind kept by p_buy, and as many by expected margin


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Customers by their rows in the bundle, and the scored products of each (see ranker.Scored)."""

    rows: Ints
    scored: Scored


@dataclass(frozen=True, slots=True)
class KindSettings:
    """The numbers kinds go by; `today` is the day of the bundle's as_of in the shop's time zone.

    Parameters
    ----------
    abandoned_hours, abandoned_days : what was seen is left alone for so long, and forgotten after so long
    event_days, points_days : how long before a birthday, an anniversary, the loss of points it is spoken of
    renewal_days : how long before its end a pass is due for renewal
    """

    today: date
    abandoned_hours: int = 24
    abandoned_days: int = 14
    event_days: int = 7
    points_days: int = 14
    renewal_days: int = 21

    @classmethod
    def of(cls, settings: Settings, as_of: datetime) -> KindSettings:
        """What `[offers]` says, on the day of `as_of`."""
        offers = settings.offers
        return cls(
            as_of.astimezone(settings.zone).date(),
            offers.abandoned_hours,
            offers.abandoned_days,
            offers.event_days,
            offers.points_days,
            offers.renewal_days,
        )


KindFunction = Callable[[Batch, Bundle, KindSettings], Candidates]


def make_batch(bundle: Bundle, rows: Ints) -> Batch:
    """Score everything the customers at `rows` might buy."""
    rows = np.asarray(rows, dtype=np.int64)
    return Batch(rows, score_batch(bundle.taught.ranker, bundle.knowledge, rows))


def proposals(
    batch: Batch, bundle: Bundle, kind: str, reason: str, chosen: Bools, because: Ints | None = None
) -> Candidates:
    """Candidates of one kind from the chosen rows of `batch.scored`: the best few of each customer."""
    at, scored = np.flatnonzero(chosen), batch.scored
    columns = scored.position[at], scored.product[at], scored.p_buy[at]
    return best_few(bundle, kind, reason, *columns, None if because is None else because[at])


def best_few(
    bundle: Bundle,
    kind: str,
    reason: str,
    position: Ints,
    product: Ints,
    p_buy: Floats,
    because: Ints | None = None,
) -> Candidates:
    """Candidates of one kind from columns, (n,) each: for kinds with a chance of their own.

    `position` is a customer's place in the batch, `because` the product that gave rise to it. Kept are the
    PER_KIND most likely and the PER_KIND most valuable by p × (1 − p) × margin, which is what an offer can
    change; ties by product.
    """
    via = because if because is not None else np.full(len(product), -1, np.int32)
    catalogue = bundle.catalogue
    margin = np.maximum(catalogue.price[product] - catalogue.unit_cost[product], 0)
    worth = p_buy * (1.0 - p_buy) * margin
    keep = best_of_each(position, p_buy, product, PER_KIND) | best_of_each(position, worth, product, PER_KIND)
    n = int(keep.sum())
    return Candidates.learned(
        position[keep].astype(np.int32),
        np.full(n, KIND[kind], np.int8),
        product[keep].astype(np.int32),
        via[keep].astype(np.int32),
        np.full(n, REASON[reason], np.int8),
        p_buy[keep].astype(np.float32),
    )
