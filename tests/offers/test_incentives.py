"""Prices after an incentive, what it costs, and the margin floor: exact to the cent."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import IncentiveTerms, Settings
from nextoffer.domain.kinds import DROP
from nextoffer.domain.menu import Menu
from nextoffer.errors import ConfigError
from nextoffer.offers.choosing import NOTHING, Policy
from nextoffer.offers.incentives import Deal, deals, final_price, meets_floor
from nextoffer.offers.ranking import decide
from nextoffer.offers.shelf import Shelf, shelf_of

CENTS = st.integers(0, 10**9)
LEVELS = st.integers(0, 10_000).map(lambda n: Decimal(n) / 10_000)
TERMS = {
    "tenth": IncentiveTerms(type="percent", value=Decimal("10")),
    "off": IncentiveTerms(type="amount", value=Decimal("1.50")),
    "fixed": IncentiveTerms(type="fixed_price", value=Decimal("3.99")),
    "shipping": IncentiveTerms(type="free_shipping", value=Decimal("4.95"), cost=Decimal("3.10")),
    "points": IncentiveTerms(type="points", value=Decimal(200)),
    "basket": IncentiveTerms(type="percent", value=Decimal("12.5"), scope="basket", min_order=Decimal(30)),
    "shared": IncentiveTerms(type="percent", value=Decimal("20"), partner_share=0.5),
}


def millionths(level: Decimal) -> np.ndarray:
    return np.array([int(level * 1_000_000)])


@given(CENTS, LEVELS)
def test_a_final_price_is_the_exact_product_rounded_half_to_even(price: int, level: Decimal) -> None:
    expected = (price * (1 - level)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)

    assert final_price(np.array([price]), millionths(level)).tolist() == [int(expected)]


@pytest.mark.parametrize(
    ("price", "level", "final"),
    [(10, "0.15", 8), (30, "0.15", 26), (9, "0.5", 4), (7, "0.5", 4), (255, "0", 255), (255, "1", 0)],
)
def test_half_a_cent_goes_to_the_even_one(price: int, level: str, final: int) -> None:
    assert final_price(np.array([price]), millionths(Decimal(level))).tolist() == [final]


@pytest.fixture(scope="module")
def menu(shop_settings: Settings) -> Menu:
    none = shop_settings.offers.model_copy(update={"win_back_levels": ()})
    return Menu.of(shop_settings.model_copy(update={"offers": none, "incentives": TERMS}))


def on_shelf(bundle: Bundle, policy: Policy, price: int, cost: int) -> Shelf:
    shelf = shelf_of(bundle, policy)
    return replace(shelf, price=np.array([price, 0]), unit_cost=np.array([cost, 0]))


def deal_of(bundle: Bundle, shelf: Shelf, menu: Menu, name: str, basket: int) -> Deal:
    row = np.array([menu.name.index(name)])
    return deals(bundle, shelf, menu, row, np.zeros(1, np.int64), np.array([basket]))


@pytest.mark.parametrize(
    ("name", "final", "saved", "cost"),
    [
        ("none", 999, 0, 0),
        ("tenth", 899, 100, 100),  # 899.1
        ("off", 849, 150, 150),
        ("fixed", 399, 600, 600),
        ("shipping", 999, 495, 310),
        ("points", 999, 200, 200),  # a point is a penny
        ("basket", 999, 500, 500),  # of an order of 40.00
        ("shared", 799, 200, 100),
    ],
)
def test_what_each_incentive_takes_off_and_costs(
    name: str, final: int, saved: int, cost: int, menu: Menu, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    deal = deal_of(shop_bundle, on_shelf(shop_bundle, shop_policy, 999, 500), menu, name, 4000)

    assert [int(column[0]) for column in (deal.price, deal.final, deal.saved, deal.cost)] == [
        999,
        final,
        saved,
        cost,
    ]


@given(price=st.integers(1, 500), value=st.integers(1, 900))
def test_nobody_is_paid_to_take_a_product(
    price: int, value: int, shop_settings: Settings, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    terms = {
        "off": IncentiveTerms(type="amount", value=Decimal(value) / 100),
        "fixed": IncentiveTerms(type="fixed_price", value=Decimal(value) / 100),
    }
    menu = Menu.of(shop_settings.model_copy(update={"incentives": terms}))
    shelf = on_shelf(shop_bundle, shop_policy, price, 0)

    assert deal_of(shop_bundle, shelf, menu, "off", 0).final[0] == max(price - value, 0)
    assert deal_of(shop_bundle, shelf, menu, "fixed", 0).final[0] == min(
        price, value
    )  # never dearer than listed


@given(
    price=st.integers(0, 10**7),
    cost=st.integers(0, 10**7),
    level=st.integers(1, 10_000).map(lambda n: Decimal(n) / 100),
    floor=st.integers(0, 1000).map(lambda n: Decimal(n) / 1000),
)
def test_the_margin_floor_holds_to_the_cent(
    price: int,
    cost: int,
    level: Decimal,
    floor: Decimal,
    shop_settings: Settings,
    shop_bundle: Bundle,
    shop_policy: Policy,
) -> None:
    terms = {"cut": IncentiveTerms(type="percent", value=level)}
    menu = Menu.of(shop_settings.model_copy(update={"incentives": terms}))
    shelf = on_shelf(shop_bundle, shop_policy, price, cost)
    final = int((price * (1 - level / 100)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    expected = final > 0 and Fraction(final - cost) >= Fraction(floor) * final
    deal = deal_of(shop_bundle, shelf, menu, "cut", 0)
    row, product = np.array([menu.name.index("cut")]), np.zeros(1, np.int64)

    got = meets_floor(shelf, menu, row, product, deal, np.zeros(1, np.int64), float(floor))

    assert got.tolist() == [expected]


def test_an_order_must_bear_what_is_given_on_the_whole_basket(
    menu: Menu, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    """Free delivery costs 3.10: too much of an order of 10.00 at a margin of 30 %, not of one of 40.00."""
    shelf = replace(on_shelf(shop_bundle, shop_policy, 999, 500), margin_share=0.3)
    row, product = np.array([menu.name.index("shipping")]), np.zeros(1, np.int64)

    for basket, bears in ((1000, False), (4000, True)):
        deal = deal_of(shop_bundle, shelf, menu, "shipping", basket)
        got = meets_floor(shelf, menu, row, product, deal, np.array([basket]), 0.05)
        assert got.tolist() == [bears]


def test_what_one_use_costs_is_borne_whole_by_the_smallest_order(
    shop_settings: Settings, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    """10 % off an order of 10.00 or more: its margin of 3.00 bears 2.00 a use, and does not bear 4.00."""
    shelf = replace(on_shelf(shop_bundle, shop_policy, 999, 500), margin_share=0.3)
    row, product = np.array([4]), np.zeros(1, np.int64)

    for cost, bears in (("2.00", True), ("4.00", False), (None, True)):
        terms = IncentiveTerms(
            type="percent",
            value=Decimal(10),
            scope="basket",
            min_order=Decimal(10),
            cost=None if cost is None else Decimal(cost),
        )
        menu = Menu.of(shop_settings.model_copy(update={"incentives": {"cut": terms}}))
        deal = deal_of(shop_bundle, shelf, menu, "cut", 50_000)
        got = meets_floor(shelf, menu, row, product, deal, np.array([50_000]), 0.05)
        assert got.tolist() == [bears]


def test_without_configured_levels_there_is_no_discount(shop_settings: Settings) -> None:
    none = shop_settings.offers.model_copy(update={"win_back_levels": ()})

    assert Menu.of(shop_settings.model_copy(update={"offers": none})).name == ("none",)
    assert [Menu.of(shop_settings).text(row) for row in range(4)] == [
        "none",
        "percent 5",
        "percent 10",
        "percent 15",
    ]


@pytest.mark.parametrize("gone", ["hidden", "restricted", "sold out", "unknown", None])
def test_a_gift_is_given_only_where_it_is_there(
    gone: str | None, shop_settings: Settings, shop_bundle: Bundle
) -> None:
    """The same candidates, their gift there or not: nothing else decides."""
    n = len(shop_bundle.catalogue)
    here: dict[str, np.ndarray] = {"hidden": np.zeros(n, bool), "restricted": np.zeros(n, bool)}
    here["stock"] = np.full(n, np.nan)
    if gone in ("hidden", "restricted"):
        here[gone][0] = True
    if gone == "sold out":
        here["stock"][0] = 0.0
    bundle = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, **here))
    product = "no such product" if gone == "unknown" else bundle.catalogue.ids.text(0)
    terms = {"mug": IncentiveTerms(type="gift", product=product, kinds=("win_back",))}
    policy = Policy.of(shop_settings.model_copy(update={"incentives": terms}))
    rows = np.arange(len(bundle.knowledge.customers))

    choice = decide(bundle, rows, bundle.candidates.batch(rows), policy, NOTHING)

    carries = choice.option.incentive == policy.menu.name.index("mug")
    assert carries.any()
    assert (choice.fails[carries] == DROP["no-gift"]).all() == (gone is not None)


@pytest.mark.parametrize(("currency", "amount"), [("EUR", "5.005"), ("JPY", "0.4"), ("KWD", "1.2345")])
def test_money_finer_than_the_currency_is_refused_not_rounded(
    currency: str, amount: str, shop_settings: Settings
) -> None:
    for terms in (
        IncentiveTerms(type="amount", value=Decimal(amount)),
        IncentiveTerms(type="percent", value=Decimal(10), min_order=Decimal(amount)),
    ):
        with pytest.raises(ConfigError, match=f"{currency} has .* decimals, but it is {amount}"):
            Menu.of(shop_settings.model_copy(update={"currency": currency, "incentives": {"it": terms}}))
