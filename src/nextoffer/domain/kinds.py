"""The closed lists of words offers are told in: kinds, incentives, reasons, and why an offer was not made."""

from __future__ import annotations

from typing import get_args

from nextoffer.config import Incentive, Kind

KINDS: tuple[str, ...] = get_args(Kind)
INCENTIVES: tuple[str, ...] = get_args(Incentive)
KIND = {kind: code for code, kind in enumerate(KINDS)}

REASONS: tuple[str, ...] = (
    "due-for-refill",  # replenishment
    "bought-together",  # cross_sell: companion of something bought lately
    "goes-with-cart",  # cross_sell: companion of something in the cart
    "bought-lately",  # cross_sell: companion of something bought since the bundle was made
    "step-up",  # up_sell
    "similar-customers",  # for_you: collaborative filtering
    "like-viewed",  # for_you: similar to something viewed now
    "popular-now",  # for_you: nothing personal is known
    "we-miss-you",  # win_back
    "runs-out",  # replenishment: by the shelf life of what was bought
    "left-in-cart",  # abandoned
    "viewed-not-bought",  # abandoned
    "birthday",  # event
    "anniversary",  # event: of the first order
    "points-expire",  # event: points about to be lost
    "renewal",  # renewal
    "hand-picked",  # a rule of offers.toml: the marketer's own words
)
REASON = {reason: code for code, reason in enumerate(REASONS)}

# Eligibility, in the order the rules are asked: the first that fails gives the code.
RULE_DROPS: tuple[str, ...] = (
    "no-consent",
    "holdout",
    "filtered",
    "excluded",
    "hidden",
    "restricted",
    "out-of-stock",
    "bought-recently",
    "returned",
    "once-a-year",
    "in-cart",
    "contact-cap",
    "quiet-hours",
)
# The same for each incentive a candidate could carry; a candidate none of whose incentives passes has the code of
# its last one standing.
OPTION_DROPS: tuple[str, ...] = (
    "no-gift",
    "margin-floor",
    "minimum-order",
    "already-discounted",
    "redeemed-already",
    "quota",
)
# Not eligibility, but why an eligible offer is still not on the slate.
SLATE_DROPS: tuple[str, ...] = (
    "low-value",
    "explored-nothing",
    "same-product",
    "kind-full",
    "too-alike",
    "stacking",
    "slate-full",
    "budget",
)
DROPS: tuple[str, ...] = RULE_DROPS + OPTION_DROPS + SLATE_DROPS
DROP = {reason: code for code, reason in enumerate(DROPS)}

# What expected_profit is the sum of, in the order they are told.
TERMS: tuple[str, ...] = ("product", "basket", "later", "moved", "incentive", "contact")
