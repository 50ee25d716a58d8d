"""What offers are believed to change until experiments have measured it: documented, with their uncertainty.

An offer can do two things, and the prior of its kind has a number for each:

- *cause an order* that would not have come. `order` is the chance of that for a message without incentive,
  `order_per_tenth` what each 10 % of the basket given away adds. Sources: Hillstrom (2008), 64,000 customers,
  randomised: one e-mail added .31 (women's) and .68 (men's) points to .57 % who ordered within two weeks, in every
  recency quarter of the year alike, hence an addition in points, .005 as the middle. Campaigns with 10 % off
  worked 1.5 to 2.5 times as well as those without, hence .005 more. Response falls with longer silence;
  `half_life_days` is our assumption.
- *bring a product into an order*. `none` is the odds ratio of showing it, `per_tenth` multiplies it for each 10 %
  off its price. Source: the same test's visits and purchases of the category shown, 1.2 to 2.2; price elasticities
  of 1 to 3 (Bijmolt, van Heerde & Pieters 2005, mean −2.6) make 10 % off 1.1 to 1.4 times as many sales.

Where no public test exists, kinds are set by how near the customer is to a purchase: a full cart, a product run
out, a pass that ends. `sd` is the uncertainty of all of them on the log scale (.7: a factor of two either way); it
is what measured uplift is weighed against.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nextoffer.config.base import Kind, Section, Share

Odds = Annotated[float, Field(ge=1.0, le=20.0)]
Chance = Annotated[float, Field(ge=0.0, le=0.5)]


class Prior(Section):
    """What an offer of one kind is believed to change (see the head of this file)."""

    none: Odds
    per_tenth: Odds = 1.3
    order: Chance = 0.005
    order_per_tenth: Chance = 0.005
    sd: Annotated[float, Field(gt=0.0, le=3.0)] = 0.7


DEFAULT_PRIORS: dict[str, Prior] = {
    "cross_sell": Prior(none=1.5, order=0.006),
    "up_sell": Prior(none=1.3, order=0.005),
    "for_you": Prior(none=1.5, order=0.005),
    "abandoned": Prior(none=2.0, order=0.015),
    "replenishment": Prior(none=1.5, order=0.015),
    "event": Prior(none=1.3, order=0.0075),
    "renewal": Prior(none=2.0, order=0.02),
    "win_back": Prior(none=1.3, order=0.0075, order_per_tenth=0.0075),
}


class Value(Section):
    """What offers are believed to change, and what an order caused is worth.

    `half_life_days`: after so long a silence a message works half as well. `fatigue`: what is left of its
    effect for each other message within seven days. `moved_share`: of the orders caused now, so many would have
    come within ten weeks anyway, where the customer is likely to order at all. `later_days`: a customer won back
    keeps ordering at their old pace for so long.
    """

    prior: dict[Kind, Prior] = {}
    half_life_days: Annotated[float, Field(gt=0)] = 180.0
    fatigue: Share = 0.85
    moved_share: Share = 0.35
    later_days: Annotated[int, Field(ge=0)] = 84

    def prior_of(self, kind: str) -> Prior:
        """The configured prior of a kind, else the documented default."""
        chosen = {str(name): prior for name, prior in self.prior.items()}
        return chosen.get(kind) or DEFAULT_PRIORS[kind]
