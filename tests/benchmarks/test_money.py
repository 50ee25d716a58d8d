"""The benchmark of money: its arithmetic on figures one can work out by hand, and nextoffer in the loop once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.bench_money import summary, table
from benchmarks.money.compare import OURS, SHUFFLED, best_constant, per_thousand, ratio
from benchmarks.money.ours import nextoffer_policy
from benchmarks.money.policies import recorded, shuffled

from nextoffer.simulation.loop import Run, paired, run
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop


def earned(*profit: float, incentive: float = 0.0, wasted: float = 0.0) -> Run:
    n = len(profit)
    return Run(
        np.array(profit),
        np.full(n, incentive / n),
        np.full(n, wasted / n),
        np.ones(n),
        np.full(1, n),
    )


SEEDS = [
    {
        "nothing": earned(1, 1, 1, 1),
        "for_you to all": earned(2, 2, 2, 2),
        "cross_sell to all": earned(3, 1, 1, 1),
        "flat 10 % to all": earned(0, 1, 1, 1, incentive=4, wasted=3),
        "rules": earned(3, 2, 2, 2),
        OURS: earned(4, 2, 3, 3, incentive=2, wasted=0.5),
        SHUFFLED: earned(2, 2, 2, 2),
    },
    {
        "nothing": earned(0, 0, 0, 0),
        "for_you to all": earned(0, 0, 0, 0),
        "cross_sell to all": earned(1, 1, 0, 1),
        "flat 10 % to all": earned(0, 0, 0, 0, incentive=4, wasted=3),
        "rules": earned(1, 1, 1, 1),
        OURS: earned(1, 2, 1, 2, incentive=2, wasted=0.5),
        SHUFFLED: earned(1, 1, 1, 1),
    },
]


def test_profit_is_told_per_thousand_customers_with_its_interval() -> None:
    mean, low, high = per_thousand(np.array([1.0, 2.0, 3.0]))

    assert mean == 2_000 and high - mean == pytest.approx(1_960 / np.sqrt(3)) and mean - low == high - mean


def test_a_ratio_of_proportional_columns_is_certain() -> None:
    column = np.array([1.0, 2.0, 4.0])

    assert ratio(3 * column, column) == pytest.approx((3.0, 3.0, 3.0))
    value, low, high = ratio(np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0]))
    assert low < value == 1.0 < high


def test_the_best_constant_offer_is_chosen_on_the_next_seed() -> None:
    chosen, more = best_constant(SEEDS)

    assert chosen == ["cross_sell to all", "for_you to all"]
    assert more.tolist() == [2, 0, 0, 0, 0, 0, 0, 0]


def test_the_summary_and_the_table_hold_every_bar() -> None:
    figures = summary(SEEDS)

    assert figures["ours_over_rules"][0] == 1.56  # 14 of 9
    assert figures["profit_per_1000"][OURS]["pooled"][0] == 1_750.0
    assert figures["gained_by_the_right_products"][0] == 750.0  # 6 more, of 8 customers
    assert figures["incentive_on_baseline_of_flat"] == 0.75
    assert figures["profit_per_1000"][OURS]["incentive_on_baseline"] == 0.25
    lines = table(SEEDS, [1, 2]).splitlines()
    assert len(lines) == len(SEEDS[0]) and "+1750" in lines[-2]


def test_shuffling_exchanges_products_within_each_kind_and_nothing_else() -> None:
    rows = 60
    sent = pa.table(
        {
            "customer_id": [f"C{row}" for row in range(rows)],
            "kind": ["for_you" if row % 2 else "win_back" for row in range(rows)],
            "product_id": [f"P{row}" for row in range(rows)],
        }
    )
    seen: Any = type("Seen", (), {"week": 3, "now": datetime(2026, 1, 1, tzinfo=UTC)})
    got = shuffled(recorded_once(sent))(seen)

    assert got.drop_columns(["product_id"]).equals(sent.drop_columns(["product_id"]))
    assert sorted(got["product_id"].to_pylist()) == sorted(sent["product_id"].to_pylist())
    parity = [int(product[1:]) % 2 for product in got["product_id"].to_pylist()]
    assert parity == [row % 2 for row in range(rows)] and not got.equals(sent)


def recorded_once(table: pa.Table) -> dict[int, pa.Table]:
    sent: dict[int, pa.Table] = {}
    recorded(lambda _: table, sent)(type("Seen", (), {"week": 3}))  # type: ignore[arg-type]
    return sent


@pytest.mark.slow
def test_nextoffer_trains_on_what_is_visible_and_earns_something(tmp_path: Path) -> None:
    settings = ShopSettings(
        customers=1_500, products=200, weeks=60, rate=0.16, interactions=True, subscriptions=True
    )
    shop = Shop(settings)
    shop.write_history(tmp_path / "shop")
    sent: dict[int, pa.Table] = {}
    ours = run(shop, recorded(nextoffer_policy(tmp_path / "ours"), sent), 2, 6)

    assert sorted(sent) == [60, 61]
    for messages in sent.values():
        assert messages.num_rows == len(messages["customer_id"].unique()) > 100
        assert len(messages["kind"].unique()) >= 4
    assert paired(ours, run(shop, None, 2, 6))[0] > 0
