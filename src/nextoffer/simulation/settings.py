"""What a synthetic shop is like: every constant of its world, in one frozen value that travels as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime

from nextoffer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ShopSettings:
    """One synthetic shop; the defaults make it look like real ones (see `facts`).

    Rates and hazards are per week, spreads are standard deviations of a logarithm, shares lie in 0..1.
    """

    # size
    customers: int = 20_000
    """people who are customers at the start or join later"""
    products: int = 4_000
    """products in the catalogue at the end of the history"""
    weeks: int = 104
    """length of the history"""
    start_on: str = "2024-01-01"
    """first day of the history, a Monday"""
    family_size: float = 12.0
    """mean number of products in a family"""

    # switches
    returns: bool = True
    """some lines come back as negative lines of the same order"""
    guests: float = 0.14
    """share of orders placed without an account"""
    shared_accounts: float = 0.03
    """share of accounts that two people use, each with a taste of their own"""
    season: bool = True
    """orders follow the year, with a peak before Christmas"""
    price_changes: bool = True
    """fortnightly price promotions, list prices rising every half-year"""
    launches: bool = True
    """part of the products enter during the history"""
    interactions: bool = False
    """also write views and carts (many rows)"""
    dirty: bool = False
    """spoil the written orders the way real exports are spoilt; they are then one CSV file"""
    subscriptions: bool = False
    """some customers hold a pass of 26 weeks and renew it or not"""
    past_policy: str = "none"
    """"confounded": through the history, mail and discounts went to good, recent customers (see `past`)"""
    offer_effect: float = 1.0
    """scales everything an opened offer changes; 0 = offers change nothing"""
    harmful: bool = False
    """mail puts off two customers in five instead of one in twenty"""
    threshold_effect: bool = False
    """incentives below 15 % move nobody"""
    delayed_response: bool = False
    """half of the orders an offer causes come two or three weeks later"""
    wrong_click: bool = False
    """clicks say nothing about who read the message"""
    stockouts: bool = False
    """one product in a hundred is out of stock for a week; its neighbours on the ladder sell instead"""
    regular_gaps: bool = False
    """everybody orders as if by a timetable: Erlang-6 gaps (see `rhythm`)"""
    bursty: bool = False
    """everybody's rate jumps between spells of buying and of silence, ten weeks at a time"""
    interference: bool = False
    """customers keep house in pairs; whoever of a pair read an offer lately buys for both (see `households`)"""
    drift: bool = False
    """own families change for 2 % of customers a week; from the fifth week after the history, σ × .6"""

    # products
    family_spread: float = 1.1
    """spread of family sizes"""
    price_median: float = 4.0
    """median over families of the typical price, in currency units"""
    price_spread: float = 0.65
    """spread of typical prices between families"""
    ladder_step: float = 0.39
    """median over families of the spread of prices within one"""
    ladder_spread: float = 0.5
    """spread of that spread between families"""
    margin_low: float = 0.18
    margin_high: float = 0.52
    """margin share of a family lies between these"""
    product_popularity: float = 0.95
    """spread of popularity within a family"""
    family_popularity: float = 0.75
    """spread of popularity between families"""
    size_power: float = 0.7
    """popularity of a family grows with its number of products to this power"""
    class_tilt: float = 0.7
    """how strongly thrifty and generous customers lean to the ends of a price ladder"""
    refill_share: float = 0.35
    """share of families whose products run out"""
    cycle_weeks: float = 5.0
    """median weeks one unit of a refill family lasts"""
    cycle_spread: float = 0.45
    """spread of that between families"""
    companion_share: float = 0.5
    """chance of each of two companions a product may have"""
    companion_low: float = 0.128
    companion_high: float = 0.48
    """chance, per basket line, that the next line is the companion, lies between these"""
    launch_share: float = 0.45
    """share of products that enter during the history"""
    launch_boost: float = 2.2
    """how much more a product is wanted in its first ten weeks"""
    promoted_share: float = 0.06
    """share of products on promotion in a fortnight"""
    return_base: float = 0.01
    return_extra: float = 0.08
    """a line of a family comes back with probability base + extra · u²"""

    # customers
    rate_shape: float = 0.75
    rate: float = 0.08
    """orders a week while active: Gamma, shape and mean"""
    regular_share: float = 0.6
    """share of customers with regular (Erlang-2) gaps; the others' are exponential"""
    lapse_shape: float = 0.9
    lapse: float = 0.013
    """chance a week of lapsing: Gamma, shape and mean"""
    lapse_at_once: float = 0.38
    """share of new customers who never come back"""
    return_rate: float = 0.0012
    """chance a week that a lapsed customer returns unaided"""
    joined_before: float = 0.40
    """share of customers active when the history starts"""
    joining_weeks: int = 12
    """the rest join evenly until this many weeks after the history's end"""
    basket_median: float = 2.5
    basket_spread: float = 0.75
    """typical lines of a customer's orders: median and spread over customers"""
    order_spread: float = 0.8
    """spread of lines over the orders of one customer"""
    quantity_more: float = 0.28
    """chance of one more unit of the same product"""
    taste_families: int = 9
    """number of families that are a customer's own"""
    taste_share: float = 0.62
    """share of lines from them; the others follow popularity"""
    loyalty_low: float = 0.35
    loyalty_high: float = 0.85
    """share of lines in a family that are the customer's usual product lies between these"""
    due_hazard: float = 0.10
    """a refill that is due adds this to the chance of ordering"""
    elsewhere: float = 0.25
    """chance a week that a due refill is bought elsewhere"""
    refill_spread: float = 0.35
    """spread of customers' own cycles about their family's"""
    subscribed: float = 0.70
    """share of customers who may be e-mailed at the start"""
    response: float = 1.0
    discount_response: float = 1.0
    pull_forward: float = 1.0
    """multiply what messages and price cuts do to customers (ρ, σ), and how much of it is only moved (π)"""

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise ConfigError("ShopSettings", faults)

    @property
    def start(self) -> datetime:
        """First moment of the history, UTC."""
        return datetime.combine(date.fromisoformat(self.start_on), datetime.min.time(), tzinfo=UTC)

    def to_json(self) -> str:
        """These settings as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ShopSettings:
        """The settings `to_json` wrote; a missing key has its default.

        Raises
        ------
        ConfigError : unknown keys, or values out of range.
        """
        given = json.loads(text)
        known = {field.name for field in fields(cls)}
        unknown = [f"{key}: unknown setting" for key in given if key not in known]
        if unknown:
            raise ConfigError("ShopSettings", unknown)
        return cls(**given)


PAST_POLICIES = ("none", "confounded")
_SHARES = (
    "guests shared_accounts refill_share companion_share launch_share promoted_share regular_share "
    "lapse_at_once joined_before taste_share loyalty_low loyalty_high elsewhere subscribed quantity_more "
    "margin_low margin_high"
).split()


def _faults(settings: ShopSettings) -> list[str]:
    least = {"customers": 1, "products": 24, "weeks": 1, "taste_families": 1}
    faults = [
        f"{name} must be at least {low} (it is {getattr(settings, name)})"
        for name, low in least.items()
        if getattr(settings, name) < low
    ]
    faults += [
        f"{name} must lie in 0..1 (it is {getattr(settings, name)})"
        for name in _SHARES
        if not 0.0 <= getattr(settings, name) <= 1.0
    ]
    if settings.past_policy not in PAST_POLICIES:
        faults.append(
            f"past_policy must be one of {', '.join(PAST_POLICIES)} (it is {settings.past_policy!r})"
        )
    if settings.regular_gaps and settings.bursty:
        faults.append("regular_gaps and bursty exclude one another: choose one")
    faults += [
        f"{name} must not be negative (it is {getattr(settings, name)})"
        for name in ("offer_effect", "response", "discount_response", "pull_forward")
        if getattr(settings, name) < 0
    ]
    if settings.guests > 0.9:
        faults.append(f"guests must be at most 0.9 (it is {settings.guests})")
    try:
        monday = date.fromisoformat(settings.start_on).weekday() == 0
    except ValueError:
        monday = False
    if not monday:
        faults.append(f"start_on must be a Monday as YYYY-MM-DD (it is {settings.start_on!r})")
    return faults
