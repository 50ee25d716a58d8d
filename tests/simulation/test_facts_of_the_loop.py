"""Facts 19 to 23 of real shops: how messages and incentives work, and how badly a naive comparison misleads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nextoffer.domain.arrays import Floats
from nextoffer.domain.offers import KIND
from nextoffer.simulation.effect import planted
from nextoffer.simulation.facts import facts, read_lines
from nextoffer.simulation.known import know
from nextoffer.simulation.life import ACTIVE, LAPSED
from nextoffer.simulation.past import campaign_log, past_offers
from nextoffer.simulation.policies import flat, for_you, win_back
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.simulation.targets import misses

pytestmark = pytest.mark.slow
N = 20_000
WEEK = 7 * 86_400e6


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(ShopSettings(customers=N, past_policy="confounded"))
    made.write_history(tmp_path_factory.mktemp("confounded"))
    return made


def numbers(ids: Any) -> Any:
    return np.asarray(pc.utf8_slice_codeunits(ids, 1).cast(pa.int64()))


def caused(shop: Shop, policy: Any) -> tuple[Floats, Any, list[Any]]:
    """Orders caused in two weeks by one message, by customer; who was sent it; the weeks."""
    treated, alone = shop.fork(), shop.fork()
    table = policy(treated.visible())
    with_it = [treated.step(treated.week, table), treated.step(treated.week)]
    without = [alone.step(alone.week), alone.step(alone.week)]
    difference = planted(with_it, without)
    orders = np.zeros(N)
    orders[numbers(difference["customer_id"])] = np.asarray(difference["orders_caused"])
    return orders, numbers(table["customer_id"]), with_it


def test_facts_1_to_18_hold_under_the_past_policy_too(shop: Shop) -> None:
    families = pq.read_table(shop._alive().journal.folder / "truth" / "products.parquet")
    found = facts(read_lines(shop.visible().orders, families.select(["product_id", "family_id"])))

    assert not [str(miss) for miss in misses(found)]


def test_fact_19_one_message_in_fifty_is_redeemed(shop: Shop) -> None:
    twin, shares = shop.fork(), []
    for _ in range(4):
        table = flat()(twin.visible())
        rows = twin.step(twin.week, table)
        shares.append(len(pc.unique(rows.redemptions["customer_id"])) / table.num_rows)

    assert 0.005 < np.mean(shares) < 0.03


def test_fact_20_an_incentive_is_used_early_in_the_week_it_is_good_for(shop: Shop) -> None:
    twin, passed = shop.fork(), []
    for _ in range(4):
        begun = twin.start.timestamp() * 1e6 + twin.week * WEEK
        rows = twin.step(twin.week, flat()(twin.visible()))
        used = rows.redemptions.group_by("order_id").aggregate([("occurred_at", "min")])
        passed.append((np.asarray(used["occurred_at_min"].cast(pa.int64())) - begun) / WEEK)
    first, middle, third = np.quantile(np.concatenate(passed), [0.25, 0.5, 0.75])

    assert 0.3 < middle < 0.45 and first < 0.25 and 0.5 < third < 0.75


def test_the_past_policy_writes_to_half_of_the_active_customers_it_may_write_to(shop: Shop) -> None:
    now = shop.fork().before()
    chosen = past_offers(shop.world, now.customers, now.state, now.week, now.window)
    assert chosen is not None
    written = np.zeros(N, dtype=bool)
    written[chosen[0].row[chosen[0].kind == KIND["for_you"]]] = True
    active = now.state.subscribed & (now.state.status == ACTIVE)

    assert 0.43 < written[active].mean() < 0.51
    assert written[now.state.status == LAPSED].mean() < 0.1


def test_fact_21_a_message_lifts_orders_by_points_and_ten_per_cent_off_by_more(shop: Shop) -> None:
    alone, sent, _ = caused(shop, for_you())
    off, _, _ = caused(shop, flat())
    back, lapsed, _ = caused(shop, win_back())
    silent = np.full(N, np.nan)
    known = know(shop.visible())
    silent[known.customer] = known.silent
    half_to_one = lapsed[(silent[lapsed] > 26) & (silent[lapsed] < 52)]

    assert 0.15 < 100 * alone[sent].mean() < 0.7
    assert 1.3 < off[sent].mean() / alone[sent].mean() < 2.5
    assert 0.25 < 100 * back[half_to_one].mean() < 0.8


def test_fact_22_spend_after_a_message_is_mostly_nothing_and_very_skew(shop: Shop) -> None:
    _, sent, weeks = caused(shop, flat())
    orders = pa.concat_tables([rows.orders for rows in weeks])
    orders = orders.filter(pc.and_(pc.is_valid(orders["customer_id"]), pc.greater(orders["quantity"], 0)))
    amount = np.asarray(orders["quantity"]) * np.asarray(orders["unit_price"].cast(pa.float64()))
    spend = np.bincount(numbers(orders["customer_id"]), amount, N)[sent]

    assert ((spend - spend.mean()) ** 3).mean() / spend.std() ** 3 > 7
    assert (spend == 0).mean() > 0.85
    assert 0.7 < spend[spend > 0].std() / spend[spend > 0].mean() < 1.5


def test_fact_23_a_naive_comparison_sees_a_gain_where_there_is_none(shop: Shop) -> None:
    """Good and recent customers were written to: they buy more than the others, with or without the mail."""
    treated, alone = shop.fork(), shop.fork()
    now = treated.before()
    chosen = past_offers(treated.world, now.customers, now.state, now.week, now.window)
    assert chosen is not None
    offers = campaign_log(treated.world, now.customers, chosen[0]).drop_columns(["occurred_at"])
    with_it = [treated.step(treated.week, offers if turn == 0 else None) for turn in range(4)]
    without = [alone.step(alone.week) for _ in range(4)]
    got, bare = (_profit(weeks) for weeks in (with_it, without))
    exposed = np.zeros(N, dtype=bool)
    exposed[chosen[0].row] = True
    others = ~exposed & (now.customers.joins < now.week)
    naive, true = got[exposed].mean() - got[others].mean(), (got - bare)[exposed].mean()

    assert naive > 0.3 and abs(true) < naive / 3


def _profit(weeks: list[Any]) -> Floats:
    orders = pa.concat_tables([rows.orders for rows in weeks])
    orders = orders.filter(pc.is_valid(orders["customer_id"]))
    price, cost = (np.asarray(orders[name].cast(pa.float64())) for name in ("unit_price", "unit_cost"))
    return np.bincount(numbers(orders["customer_id"]), np.asarray(orders["quantity"]) * (price - cost), N)
