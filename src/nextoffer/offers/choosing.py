"""What a choice depends on besides the bundle: the shop's policy and the moment's context, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.config import Settings
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KINDS


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The shop's rules for a slate, from nextoffer.toml.

    Parameters
    ----------
    n, max_per_kind : size of a slate; at most so many of one kind, unless fewer kinds are asked than places
    repurchase_days : a product bought this recently is not offered, unless it is repeatable
    floor_share : the least margin, as a share of the final price
    levels : discounts win-back may choose from
    contact_cost : currency units, charged when the slate is a message
    odds, odds_per_tenth : (n_kinds,) the prior lift of the odds of buying (config.Prior)
    order_by : what ranks the eligible, `expected_profit` or (for analysis) `p_buy`
    """

    n: int
    max_per_kind: int
    repurchase_days: int
    floor_share: float
    levels: tuple[float, ...]
    min_expected_profit: float
    contact_cost: float
    max_per_day: int
    max_per_week: int
    odds: Floats
    odds_per_tenth: Floats
    order_by: str = "expected_profit"

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """The policy a configuration describes."""
        priors = [settings.value.prior_of(kind) for kind in KINDS]
        offers, contact = settings.offers, settings.contact
        return cls(
            n=offers.n,
            max_per_kind=offers.max_per_kind,
            repurchase_days=offers.repurchase_days,
            floor_share=settings.margin.floor_share,
            levels=tuple(sorted(offers.win_back_levels)),
            min_expected_profit=offers.min_expected_profit,
            contact_cost=contact.cost,
            max_per_day=contact.max_per_day,
            max_per_week=contact.max_per_week,
            odds=np.array([prior.none for prior in priors]),
            odds_per_tenth=np.array([prior.per_tenth for prior in priors]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is true now for a batch of customers; the empty context gives the slate of the bundle's as_of.

    Parameters
    ----------
    n : places on the slate, if other than the policy's
    kinds : codes of the kinds asked for; None = all
    allowed : (n_products,) products a filter lets through; None = all
    cart, bought : rows of products in the cart, and bought since the bundle (for a batch of one);
        None = nothing, while an empty `bought` is an order of products the bundle does not know
    stock : (n_products,) units on hand now; None = as in the bundle
    contact : whether the slate is a message, so that caps and contact cost count
    messages_today, messages_week : (batch,) contacts already made; None = none
    """

    n: int | None = None
    kinds: tuple[int, ...] | None = None
    allowed: Bools | None = None
    cart: Ints | None = None
    bought: Ints | None = None
    stock: Floats | None = None
    contact: bool = False
    messages_today: Ints | None = None
    messages_week: Ints | None = None


NOTHING = Context()
