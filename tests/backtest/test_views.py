"""What is shown beside accuracy, on lists small enough to count by hand, and on the small shop by plain loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2

import numpy as np
import pytest

from nextoffer.backtest.judging import Judged, ahead, judged, pooled
from nextoffer.backtest.resample import FEW
from nextoffer.backtest.tasks import Answered, Case, Ranked, rank_next_purchase
from nextoffer.backtest.views import (
    Strata,
    by_popularity,
    mean_over,
    sales_bands,
    stratum,
    variety,
    worst,
)
from nextoffer.domain.tables import SEGMENTS


@pytest.fixture(scope="module")
def ranked(case: Case) -> Ranked:
    return rank_next_purchase(case)


def test_the_best_sellers_that_make_a_fifth_of_sales_are_the_head(case: Case) -> None:
    sold = case.lesson.knowledge.products.n_orders
    bands = sales_bands(case.lesson.knowledge)
    expected, total = {}, 0
    for product in sorted(range(len(sold)), key=lambda p: (-sold[p], p)):
        share = total / sold.sum()
        expected[product] = 0 if share < 0.2 else 1 if share < 0.8 else 2
        total += sold[product]

    assert bands.tolist() == [expected[product] for product in range(len(sold))]
    assert sorted(set(bands.tolist())) == [0, 1, 2]


def test_recall_by_popularity_counts_only_purchases_of_that_band(case: Case, ranked: Ranked) -> None:
    bands = sales_bands(case.lesson.knowledge)
    found = by_popularity(ranked, bands)
    for code, name in enumerate(("head", "middle", "tail")):
        for method, lists in ranked.lists.items():
            recall = []
            for place in range(len(ranked.customer)):
                bought = {p for p in ranked.product[ranked.position == place].tolist() if bands[p] == code}
                if bought:
                    recall.append(len(bought & set(lists[place].tolist())) / len(bought))
            assert found[name].figures()[method]["recall@10"] == pytest.approx(np.mean(recall))
            assert len(found[name].customer) == len(recall)


def test_the_lists_are_as_various_as_a_plain_loop_says(case: Case, ranked: Ranked) -> None:
    knowledge = case.lesson.knowledge
    products, pairs, family = knowledge.products, knowledge.pairs, knowledge.ladder.family.tolist()
    before = set(zip(pairs.customer().tolist(), pairs.product.tolist(), strict=True))
    cut_short = ranked.lists["nextoffer"].copy()
    cut_short[::2, 3:] = -1
    outcome = replace(ranked, lists={"popularity": ranked.lists["popularity"], "cut_short": cut_short})

    got = variety(case, outcome)

    for method, lists in outcome.lists.items():
        kept = [[p for p in row if p >= 0] for row in lists.tolist()]
        every = [p for row in kept for p in row]
        kinds = [len({(family[p], p if family[p] < 0 else -1) for p in row}) / len(row) for row in kept]
        sold = np.flatnonzero(products.n_orders > 0).tolist()
        shown = sorted(every.count(p) for p in sold)
        gaps = sum(abs(a - b) for a in shown for b in shown)
        known = [(products.n_customers[p] + 0.5) / (len(knowledge.customers) + 1) for p in every]
        new = [
            (customer, p) not in before
            for customer, row in zip(outcome.customer.tolist(), kept, strict=True)
            for p in row
        ]
        assert got[method] == pytest.approx(
            {
                "coverage": len(set(every)) / len(sold),
                "full_lists": np.mean([len(row) == 10 for row in kept]),
                "diversity": np.mean(kinds),
                "gini": gaps / (2 * len(shown) * sum(shown)),
                "novelty": np.mean([-log2(share) for share in known]),
                "new_share": np.mean(new),
            }
        )


def test_nobody_has_no_variety(case: Case, ranked: Ranked) -> None:
    none = np.zeros(0, np.int64)
    nobody = Ranked(none, {"nextoffer": np.zeros((0, 10), np.int32)}, none, none)

    assert variety(case, nobody) == {"nextoffer": {}}
    assert judged(nobody, 5).figures() == {"nextoffer": {}}


@dataclass
class Some:
    """Customers as far as strata look at them."""

    segment: np.ndarray
    frequency: np.ndarray
    log_unit_price: np.ndarray


def test_everybody_is_in_one_stratum_by_orders_and_one_by_prices() -> None:
    some = Some(np.zeros(6, np.int8), np.array([1, 2, 3, 4, 9, 10]), np.arange(6.0))
    by_orders, by_prices = Strata.of(some).kinds  # type: ignore[arg-type]

    assert [stratum(0, code)["orders"] for code in by_orders] == ["1", "2–3", "2–3", "4–9", "4–9", "10+"]
    assert [stratum(1, code)["prices"] for code in by_prices] == ["low"] * 2 + ["middle"] * 2 + ["high"] * 2
    assert stratum(0, 5) == {"segment": SEGMENTS[1], "orders": "2–3", "prices": None}


def planted(n: int = 600) -> tuple[Judged, Strata]:
    """nextoffer is best, but in stratum 3, where `habit` is, and in stratum 4, which is too small to list."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(5), [200, 150, 120, n - 470 - (FEW - 1), FEW - 1])
    ours = rng.random(n) * 0.2 + 0.5
    habit = np.where(code >= 3, ours + 0.1, ours - 0.1) + rng.normal(0, 0.01, n)
    values = {"nextoffer": {"r": ours}, "habit": {"r": habit}, "poor": {"r": ours - 0.2}}
    return Judged(np.arange(n), values), Strata((code, np.zeros(n, np.int64)))


def test_the_worst_segment_is_where_a_baseline_is_ahead_and_small_ones_are_left_out() -> None:
    one, strata = planted()
    rows = worst(one, strata, "r", seed=0)

    assert len(rows) == 5  # four strata by orders, one by prices
    assert (rows[0]["segment"], rows[0]["orders"], rows[0]["baseline"]) == (SEGMENTS[0], "10+", "habit")
    assert rows[0]["n"] == 101
    assert rows[0]["difference"] == pytest.approx(-0.1, abs=0.01)
    assert rows[0]["low"] < rows[0]["difference"] < rows[0]["high"] < 0
    assert [row["difference"] for row in rows] == sorted(row["difference"] for row in rows)
    assert rows[1]["difference"] > 0


def test_at_most_ten_segments_are_listed() -> None:
    n = 20 * FEW
    one = Judged(
        np.arange(n), {"nextoffer": {"r": np.ones(n)}, "b": {"r": np.repeat(np.arange(20) / 20, FEW)}}
    )
    rows = worst(one, Strata((np.repeat(np.arange(20), FEW), np.zeros(n, np.int64))), "r", seed=0)

    assert len(rows) == 10
    assert rows[0]["difference"] == pytest.approx(1 / 20)


def test_cut_offs_are_pooled_customer_by_customer() -> None:
    def part(values: list[float], first: int) -> Judged:
        v = np.array(values)
        return Judged(
            np.arange(len(v)) + first, {"nextoffer": {"r": v}, "b": {"r": v - np.linspace(0, 1, len(v))}}
        )

    one, two = part([0.0, 1.0, 1.0], 0), part([0.5] * 40, 2)
    nobody = Judged(np.zeros(0, np.int64), {"nextoffer": {"r": np.zeros(0)}, "b": {"r": np.zeros(0)}})
    whole = pooled([nobody, one, two])

    assert whole.figures()["nextoffer"]["r"] == pytest.approx((2.0 + 20.0) / 43)
    found = ahead({"task": whole, "none": pooled([nobody])}, seed=0)
    assert found["task"]["b"]["r"].difference == pytest.approx(0.5)
    assert found["task"]["b"]["r"].n == 42
    assert found["none"] == {}
    assert mean_over([{"b": {"x": 1.0}}, {"b": {}}, {"b": {"x": 4.0}}], [1, 0, 2]) == {"b": {"x": 3.0}}


def test_an_answer_that_few_customers_make_true_has_no_interval() -> None:
    customer, happened = np.repeat(np.arange(100), 3), np.zeros(300, bool)
    happened[: 3 * (FEW - 1)] = True
    score = np.random.default_rng(0).random(300)
    rare = Answered(customer, happened, {"nextoffer": score, "b": score**2 - happened}, ())
    enough = replace(rare, happened=np.arange(300) < 3 * FEW)

    assert ahead({"t": judged(rare, 1)}, 0)["t"]["b"]["pr_auc"].low is None
    assert ahead({"t": judged(enough, 1)}, 0)["t"]["b"]["pr_auc"].low is not None
