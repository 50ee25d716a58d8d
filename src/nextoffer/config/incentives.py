"""`[incentives.NAME]`: what a customer may gain, on which kinds, under which terms, and who pays for it."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from nextoffer.config.base import Kind, Money, Positive, Section, Share

NO_INCENTIVE, NO_OFFER = "none", "nothing"  # as the log of chances and offers.toml call them


def is_taken(name: str) -> bool:
    """Whether a name of an incentive stands for something else: no incentive, no offer, a win-back level."""
    return name in (NO_INCENTIVE, NO_OFFER) or name.startswith("win-back ")


class IncentiveTerms(Section):
    """One incentive of the shop.

    Parameters
    ----------
    value : percent 0..100; amount off, fixed price, delivery fee saved, in currency; number of points
    product : the gift
    kinds : offer kinds that may carry it; none = only offers of offers.toml that name it
    scope : whether it is taken off the offered product or off the whole basket
    min_order : least value of the order it is redeemed in, in currency
    valid_days : else `[offers] valid_days`
    partner_share : share of its cost that a supplier pays
    cost : what one use costs the shop, in currency, where that is not its value (a gift: else its unit cost)
    quota : uses in all; max_per_customer : uses by one customer
    """

    type: Literal["percent", "amount", "fixed_price", "free_shipping", "gift", "points"]
    value: Money | None = None
    product: str | None = None
    kinds: tuple[Kind, ...] = ()
    scope: Literal["product", "basket"] = "product"
    min_order: Money | None = None
    valid_days: Positive | None = None
    partner_share: Share = 0.0
    cost: Money | None = None
    quota: Positive | None = None
    max_per_customer: Positive | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> IncentiveTerms:
        if self.type == "gift":
            if not self.product:
                raise ValueError('a gift needs product = "the id of what is given"')
            return self
        if self.product is not None:
            raise ValueError("only a gift names a product")
        if self.value is None:
            raise ValueError(f"{self.type} needs value = …")
        if self.value == 0 and self.type != "fixed_price":
            raise ValueError("value must be above 0; an offer without incentive needs no [incentives]")
        if self.type == "percent" and self.value > 100:
            raise ValueError(f"a discount of {self.value} % is above 100 %")
        if self.type == "points" and self.value != int(self.value):
            raise ValueError(f"points are whole numbers, not {self.value}")
        if self.type == "fixed_price" and self.scope == "basket":
            raise ValueError('a fixed price is that of a product; use scope = "product"')
        return self
