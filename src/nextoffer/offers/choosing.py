"""What a choice depends on besides the bundle: the shop's policy and the moment's context, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from nextoffer.config import Exclude, Placement, Settings
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import KINDS


@dataclass(frozen=True, slots=True, eq=False)
class Beliefs:
    """What offers are believed to change, (n_kinds,) each (see config/priors.py).

    `measured` multiplies the chance of causing an order: (n_kinds, n_segments, n_menu) shrunken uplift measured by
    experiments ÷ the prior; None until there is some.
    """

    odds: Floats
    odds_per_tenth: Floats
    order: Floats
    order_per_tenth: Floats
    half_life_days: float
    fatigue: float
    moved_share: float
    later_days: int
    measured: Floats | None = None

    @classmethod
    def of(cls, settings: Settings) -> Beliefs:
        """What the configuration says."""
        value = settings.value
        priors = [value.prior_of(kind) for kind in KINDS]
        return cls(
            odds=np.array([prior.none for prior in priors]),
            odds_per_tenth=np.array([prior.per_tenth for prior in priors]),
            order=np.array([prior.order for prior in priors]),
            order_per_tenth=np.array([prior.order_per_tenth for prior in priors]),
            half_life_days=value.half_life_days,
            fatigue=value.fatigue,
            moved_share=value.moved_share,
            later_days=value.later_days,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ByHand:
    """The marketer's rules as columns, (n_rules,) each: the menu row they give, whether pinned, their priority."""

    name: tuple[str, ...]
    incentive: Ints
    pinned: Bools
    priority: Ints


NO_RULES = ByHand((), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The shop's rules for a slate, from nextoffer.toml.

    Parameters
    ----------
    n, max_per_kind : size of a slate; at most so many of one kind, unless fewer kinds are asked than places
    max_per_category, max_per_brand : the same for a category and a brand, 0 = no limit
    repurchase_days : a product bought this recently is not offered, unless it is repeatable
    floor_share : the least margin, as a share of the final price
    contact_cost : currency units, charged when the slate is a message
    menu : every incentive there is; `menu.kinds` says which kinds may carry which
    rules : the marketer's own offers
    explore_share : the chance every allowed incentive keeps where the context asks to explore
    zone, language, valid_days : of the shop; how long an offer is valid whose incentive says nothing else
    abandoned_hours, abandoned_days : what was seen is left alone for so long, and forgotten after so long
    placements : places on the site with kinds and sizes of their own
    order_by : what ranks the eligible, `expected_profit` or (for analysis) `p_buy`
    """

    n: int
    max_per_kind: int
    max_per_category: int
    max_per_brand: int
    repurchase_days: int
    floor_share: float
    min_expected_profit: float
    contact_cost: float
    max_per_day: int
    max_per_week: int
    beliefs: Beliefs
    menu: Menu
    rules: ByHand
    exclude: Exclude
    pinned: tuple[str, ...]
    buried: tuple[str, ...]
    stacking: str
    max_total_share: float
    explore_share: float
    zone: ZoneInfo
    language: str
    valid_days: int
    abandoned_hours: int
    abandoned_days: int
    placements: Mapping[str, Placement]
    order_by: str = "expected_profit"

    @classmethod
    def of(cls, settings: Settings, menu: Menu | None = None, rules: ByHand = NO_RULES) -> Policy:
        """The policy a configuration describes; with rules of offers.toml the menu has their incentives too."""
        offers, contact = settings.offers, settings.contact
        return cls(
            n=offers.n,
            max_per_kind=offers.max_per_kind,
            max_per_category=offers.max_per_category,
            max_per_brand=offers.max_per_brand,
            repurchase_days=offers.repurchase_days,
            floor_share=settings.margin.floor_share,
            min_expected_profit=offers.min_expected_profit,
            contact_cost=contact.cost,
            max_per_day=contact.max_per_day,
            max_per_week=contact.max_per_week,
            beliefs=Beliefs.of(settings),
            menu=Menu.of(settings) if menu is None else menu,
            rules=rules,
            exclude=offers.exclude,
            pinned=offers.pinned,
            buried=offers.buried,
            stacking=offers.stacking,
            max_total_share=offers.max_total_share,
            explore_share=offers.explore_share,
            zone=settings.zone,
            language=settings.texts.language,
            valid_days=offers.valid_days,
            abandoned_hours=offers.abandoned_hours,
            abandoned_days=offers.abandoned_days,
            placements=settings.placements,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is true now for a batch of customers; the empty context gives the slate of the bundle's as_of.

    Parameters
    ----------
    n, max_per_kind : if other than the policy's
    kinds : codes of the kinds asked for; None = all
    allowed : (n_products,) products a filter lets through; None = all
    cart, bought : rows of products in the cart, and bought since the bundle (for a batch of one);
        None = nothing, while an empty `bought` is an order of products the bundle does not know
    cart_value : minor units, where the cart is known
    stock : (n_products,) units on hand now; None = as in the bundle
    contact : whether the slate is a message, so that caps and contact cost count
    transactional : an order's own mail, which no cap and no quiet hour stops
    quiet : it is a quiet hour of this channel
    messages_today, messages_week : (batch,) contacts already made; None = none
    no_consent, held_out, capped, event_made : (batch,) may not be written to; is in the holdout; has all messages
        of this campaign it may have; was sent an event offer within a year. None = nobody
    used : (n_menu,) redemptions so far; used_by : (batch, n_menu) by each customer. None = none
    draws : (batch,) in [0, 1): explore the depth of discounts with these; None = do not explore
    """

    n: int | None = None
    max_per_kind: int | None = None
    kinds: tuple[int, ...] | None = None
    allowed: Bools | None = None
    cart: Ints | None = None
    cart_value: int | None = None
    bought: Ints | None = None
    stock: Floats | None = None
    contact: bool = False
    transactional: bool = False
    quiet: bool = False
    messages_today: Ints | None = None
    messages_week: Ints | None = None
    no_consent: Bools | None = None
    held_out: Bools | None = None
    capped: Bools | None = None
    event_made: Bools | None = None
    used: Ints | None = None
    used_by: Ints | None = None
    draws: Floats | None = None


NOTHING = Context()
