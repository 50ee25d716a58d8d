"""With `interference` customers keep house in pairs: what offers move within a household is no gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextoffer.simulation.effect import planted
from nextoffer.simulation.households import buyers_for, households
from nextoffer.simulation.policies import flat, for_you
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

SETTINGS = ShopSettings(customers=801, products=240, weeks=30, rate=0.16, interference=True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(SETTINGS)
    made.write_history(tmp_path_factory.mktemp("pairs"))
    return made


def numbers(ids: Any) -> Any:
    return np.asarray(pc.utf8_slice_codeunits(ids, 1).cast(pa.int64()))


def lived(shop: Shop, policy: Any, even: bool = False) -> list[Any]:
    """Four weeks; with `even`, only the first of each household is written to."""
    rows = []
    for _ in range(4):
        offers = policy(shop.visible()) if policy else None
        if offers is not None and even:
            offers = offers.filter(pa.array(numbers(offers["customer_id"]) % 2 == 0))
        rows.append(shop.step(shop.week, offers))
    return rows


def by_number(rows: list[Any], n: int = SETTINGS.customers) -> Any:
    """(n,) orders placed with each account; and the set of all orders and amounts, whoever placed them."""
    orders = pa.concat_tables([week.orders for week in rows])
    orders = orders.filter(pc.is_valid(orders["customer_id"]))
    lines = sorted(
        zip(
            *(orders[name].to_pylist() for name in orders.column_names[:1] + orders.column_names[2:]),
            strict=True,
        )
    )
    one = orders.group_by(["order_id", "customer_id"]).aggregate([])
    return np.bincount(numbers(one["customer_id"]), minlength=n), lines


def test_without_offers_everybody_buys_for_themselves(tmp_path: Path, shop: Shop) -> None:
    apart = Shop(replace(SETTINGS, interference=False))
    apart.write_history(tmp_path)

    assert shop.visible().orders.equals(apart.visible().orders)
    assert by_number(lived(shop.fork(), None))[0].tolist() == by_number(lived(apart.fork(), None))[0].tolist()


def test_whoever_read_an_offer_lately_buys_for_both_and_nothing_else_changes(
    tmp_path: Path, shop: Shop
) -> None:
    apart = Shop(replace(SETTINGS, interference=False))
    apart.write_history(tmp_path)
    pairs, ours = by_number(lived(shop.fork(), for_you(), even=True))
    single, theirs = by_number(lived(apart.fork(), for_you(), even=True))

    assert ours == theirs  # the same orders, with the same lines and prices, under other accounts
    together = np.bincount(households(np.arange(len(pairs))), pairs - single)
    assert not together.any()
    assert (pairs - single)[0::2].sum() > 20 and ((pairs - single)[1::2] <= 0).all()
    assert pairs[-1] == single[-1]  # the last customer has no partner


def test_a_partner_may_redeem_and_redemptions_name_the_account_of_the_order(shop: Shop) -> None:
    rows = lived(shop.fork(), flat(0.2))
    orders = pa.concat_tables([week.orders for week in rows])
    buyer = dict(zip(orders["order_id"].to_pylist(), orders["customer_id"].to_pylist(), strict=True))
    used = pa.concat_tables([week.redemptions for week in rows]).to_pylist()

    assert used and all(buyer[row["order_id"]] == row["customer_id"] for row in used)


def test_an_offer_is_remembered_for_four_weeks_and_first_orders_are_ones_own(shop: Shop) -> None:
    now = shop.fork().before()
    customers, state, rows, late = now.customers, now.state, np.array([0, 1, 2, 3]), np.zeros(4, dtype=bool)
    state.fatigue[:4] = 0.75**4, 0.0, 0.75**5, 0.0

    assert buyers_for(customers, state, rows, late).tolist() == [0, 0, 2, 3]
    assert buyers_for(customers, state, rows, ~late).tolist() == [0, 1, 2, 3]


def test_what_half_of_the_households_gain_the_other_half_may_lose(shop: Shop) -> None:
    """A naive look at accounts sees offers earn what was only moved; household by household nothing is created."""
    got, bare = lived(shop.fork(), for_you(), even=True), lived(shop.fork(), None)
    caused = planted(got, bare)
    who, orders = numbers(caused["customer_id"]), np.asarray(caused["orders_caused"])
    written, partner = orders[who % 2 == 0].sum(), orders[who % 2 == 1].sum()

    assert partner < 0 < written and written + partner < 0.5 * written
