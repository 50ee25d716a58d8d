"""Policies to compare with: from nothing and constant offers to three good rules. They see only what is visible."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND, KINDS
from nextoffer.simulation.known import Known, know
from nextoffer.simulation.loop import Policy
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.visible import Visible

LAPSED_AFTER = 26  # weeks of silence
LEVEL = 0.10


def slates(
    seen: Visible,
    rows: Ints,
    kind: Ints | str,
    product: Ints | None = None,
    level: Floats | float = 0.0,
    propensity: Floats | float = 1.0,
) -> pa.Table:
    """One offer for each of the customers at `rows` of the customers table; −1 names no product.

    An incentive is on the whole basket.
    """
    n = len(rows)
    code = np.broadcast_to(KIND[kind] if isinstance(kind, str) else kind, n)
    offered = np.full(n, -1) if product is None else product
    return pa.table(
        {
            "customer_id": seen.customers["customer_id"].combine_chunks().take(pa.array(rows)),
            "rank": pa.array(np.ones(n, dtype=np.int32)),
            "kind": pa.array(KINDS).take(pa.array(code)),
            "product_id": seen.products["product_id"]
            .combine_chunks()
            .take(pa.array(offered, mask=offered < 0)),
            "level": pa.array(np.broadcast_to(np.asarray(level, dtype=np.float64), n)),
            "basket": pa.array(np.ones(n, dtype=bool)),
            "channel": pa.array(["email"]).take(pa.array(np.zeros(n, dtype=np.int8))),
            "propensity": pa.array(np.broadcast_to(np.asarray(propensity, dtype=np.float64), n)),
        }
    )


def chance_of_buying(known: Known) -> Floats:
    """A score that ranks customers by how soon they will buy again: their rate, fading with unusual silence."""
    rate = (known.orders + 0.5) / (known.tenure + 12.0)
    usual = np.where(np.isnan(known.gap), 8.0, known.gap)
    return rate * np.exp(-known.silent / (3.0 * usual + 4.0))


def flat(level: float = LEVEL, share: float = 1.0) -> Policy:
    """The same incentive on the basket for all, or for the share most likely to buy."""

    def policy(seen: Visible) -> pa.Table:
        known = know(seen)
        score = chance_of_buying(known)
        chosen = known.consent & (score >= np.quantile(score, 1.0 - share))
        return slates(seen, np.flatnonzero(chosen), "for_you", level=level)

    return policy


def for_you(level: float = 0.0) -> Policy:
    """A product of the favourite category for all, by default without incentive."""

    def policy(seen: Visible) -> pa.Table:
        known = know(seen)
        rows = np.flatnonzero(known.consent)
        return slates(seen, rows, "for_you", known.favourite[rows], level)

    return policy


def cross_sell() -> Policy:
    """A companion of the last order, else a product of the favourite category, for all."""

    def policy(seen: Visible) -> pa.Table:
        known = know(seen)
        rows = np.flatnonzero(known.consent)
        return slates(seen, rows, "cross_sell", _companion(known)[rows])

    return policy


def win_back(every: int = 1, first: int | None = None, level: float = LEVEL) -> Policy:
    """An incentive for all who have been silent for half a year: every so many weeks, or in one week only."""

    def policy(seen: Visible) -> pa.Table | None:
        if (first is not None and seen.week != first) or seen.week % every:
            return None
        known = know(seen)
        rows = np.flatnonzero(known.consent & (known.silent > LAPSED_AFTER))
        return slates(seen, rows, "win_back", level=level)

    return policy


def rules(level: float = LEVEL) -> Policy:
    """Three good rules: a refill reminder if due; else win-back; else a companion within five weeks of an order.

    Win-back goes out every fourth week after half a year of silence, companions every second.
    """

    def policy(seen: Visible) -> pa.Table:
        known = know(seen)
        due = known.consent & (known.due_ratio >= 1.0)
        back = known.consent & ~due & (known.silent > LAPSED_AFTER) & (seen.week % 4 == 0)
        near = known.consent & ~due & (known.silent <= 5) & (seen.week % 2 == 0)
        parts = [
            slates(seen, np.flatnonzero(due), "replenishment", known.due[due]),
            slates(seen, np.flatnonzero(back), "win_back", level=level),
            slates(seen, np.flatnonzero(near), "cross_sell", _companion(known)[near]),
        ]
        return pa.concat_tables(parts)

    return policy


def random_offers(seed: int = 0, share: float = 1.0, levels: tuple[float, ...] = (0.0, 0.1, 0.2)) -> Policy:
    """A kind, and for it a level, drawn evenly: what exploration costs. Logged with its true propensity."""

    def policy(seen: Visible) -> pa.Table:
        known = know(seen)
        u = [uniform(seed, Stream.POLICY, seen.week, known.customer, part) for part in range(3)]
        rows = np.flatnonzero(known.consent & (u[0] < share))
        names, products = zip(*arms(known), strict=True)
        arm = np.floor(u[1][rows] * len(names)).astype(np.int64)
        level = np.array(levels)[np.floor(u[2][rows] * len(levels)).astype(np.int64)]
        kind = np.array([KIND[name] for name in names])[arm]
        product = np.stack(products)[arm, rows]
        return slates(seen, rows, kind, product, level, share / len(names) / len(levels))

    return policy


def arms(known: Known) -> list[tuple[str, Ints]]:
    """Each kind of offer with the product a visible rule would choose for it, (n,) each; −1 none."""
    nothing = np.full(len(known.customer), -1, dtype=np.int64)
    return [
        ("cross_sell", _companion(known)),
        ("for_you", known.favourite),
        ("up_sell", known.step),
        ("replenishment", known.due),
        ("win_back", nothing),
        ("event", nothing),
        ("abandoned", known.carted),
        ("renewal", known.pass_product),
    ]


def sensible(known: Known, kind: str) -> Bools:
    """Customers to whom an offer of this kind could be made."""
    always = known.consent.copy()
    return {
        "replenishment": always & (known.due >= 0),
        "event": always & (known.birthday | (known.points > 0)),
        "abandoned": always & (known.carted >= 0),
        "renewal": always & (known.pass_product >= 0),
    }.get(kind, always)


def _companion(known: Known) -> Ints:
    return np.where(known.companion >= 0, known.companion, known.favourite)


def shipped(first: int) -> dict[str, Policy | None]:
    """The policies every comparison has, by name; `first` is the first policy week."""
    return {
        "nothing": None,
        "random": random_offers(),
        "flat 10 % to all": flat(),
        "flat 10 % to the top 30 %": flat(share=0.3),
        "flat 10 % to the top 10 %": flat(share=0.1),
        "for_you to all": for_you(),
        "cross_sell to all": cross_sell(),
        "win-back 10 % once": win_back(first=first),
        "win-back 10 % weekly": win_back(),
        "rules": rules(),
    }


CONSTANT = tuple(name for name in shipped(0) if name not in ("nothing", "random", "rules"))
"""Policies that make everyone, or everyone of one plain group, the same offer."""
