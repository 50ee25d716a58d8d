"""The ablation: parts are whole, what is left out is out, and a part that carries the truth is missed."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.ablation import (
    FEATURES,
    GROUPS,
    METRICS,
    Truth,
    Variant,
    View,
    ablated,
    judged,
    page,
    taught,
    variants,
    without,
)

from nextoffer.backtest.resample import Difference
from nextoffer.models import mixture, ranker
from nextoffer.models.candidates import SOURCES
from nextoffer.models.views import UNRANKED

N_CUSTOMERS, N_PRODUCTS = 60, 40
SIGNAL = {"repeat": "log_weight", "explore": "log_share_28"}


def test_every_feature_of_both_views_is_in_exactly_one_group() -> None:
    named = [name for names in GROUPS.values() for name in names.split()]
    every = set(FEATURES["repeat"]) | set(FEATURES["explore"])
    assert every <= set(named)
    assert len(named) == len(set(named))


def test_every_source_group_and_step_is_tried_once() -> None:
    tried = [variant.name for variant in variants()]
    assert len(tried) == len(set(tried))
    assert set(SOURCES) | set(GROUPS) <= set(tried)


def test_without_a_source_its_columns_go_and_the_rows_only_it_proposed() -> None:
    names = ("log_rank_ease", "log_rank_people", "n_sources", "relative_ease")
    absent = np.log2(UNRANKED + 1.0)
    x = np.array([[0, absent, 1, 0.9], [0, 0, 2, 0.9], [absent, 0, 1, 0]], dtype=np.float32)
    variant = next(variant for variant in variants() if variant.name == "ease")
    found, left = without(x, names, variant)
    assert left.tolist() == [False, True, True]
    np.testing.assert_allclose(found, [[0, 1], [0, 1]])  # log_rank_people, n_sources


@pytest.fixture(scope="module")
def planted() -> tuple[dict[str, View], Truth]:
    """Two views in each of which one feature decides what is bought; all others are noise."""
    rng = np.random.default_rng(0)
    views, bought = {}, {}
    position, product = (cells.ravel() for cells in np.indices((N_CUSTOMERS, N_PRODUCTS)))
    for name, half in (("repeat", product % 2 == 0), ("explore", product % 2 == 1)):
        at = FEATURES[name].index(SIGNAL[name])

        def drawn(n: int, at: int = at, width: int = len(FEATURES[name])) -> tuple[np.ndarray, np.ndarray]:
            x = rng.normal(size=(n, width)).astype(np.float32)
            return x, rng.random(n) < 1.0 / (1.0 + np.exp(3.0 - 4.0 * x[:, at]))

        x, bought[name] = drawn(int(half.sum()))
        fallback = np.full(len(x), 0.5, np.float32)
        views[name] = View(
            FEATURES[name], 1.0, [drawn(3_000)], x, position[half], product[half].astype(np.int32), fallback
        )
    pairs = [(view.position[bought[name]], view.product[bought[name]]) for name, view in views.items()]
    customer, product = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return views, Truth(customer, product, product % 2 == 1, N_CUSTOMERS, N_PRODUCTS)


def test_the_group_that_carries_the_truth_is_missed_and_noise_is_not(
    planted: tuple[dict[str, View], Truth],
) -> None:
    tried = [
        variant
        for variant in variants()
        if variant.name in ("the pair's own history", "price beside the customer's usual")
    ]
    full, rows = ablated(*planted, tried, tell=lambda text: None)
    (_, history), (_, price) = rows
    assert history[1].sign == -1
    assert history[2].difference == 0  # the explore view has none of it, and is not taught anew
    assert abs(price[1].difference) < 0.02 < -history[1].difference
    assert full[METRICS[1]] > 0.5


def test_an_untaught_view_is_ranked_by_its_fallback(planted: tuple[dict[str, View], Truth]) -> None:
    views, truth = planted
    none = Variant("step", "all teaching", untaught=("repeat", "explore"))
    chance = judged(views, truth, none, {})
    assert np.nanmean(chance[METRICS[0]]) == pytest.approx(10 / N_PRODUCTS, abs=0.08)


def test_steps_change_what_they_name_and_leave_the_product_as_it_was(
    planted: tuple[dict[str, View], Truth], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "MANY", 0)  # else trees have no say in so few rows
    steps = {variant.name: variant for variant in variants()}
    views = {"repeat": planted[0]["repeat"]}
    before = mixture.CURVES_SHARE, ranker.TILT, ranker.sampled
    plain = taught(views, Variant("", "nothing"), {})["repeat"]
    curves = taught(views, steps["trees (curves only)"], {})["repeat"]
    trees = taught(views, steps["curves (trees only, tilted)"], {})["repeat"]
    assert len(plain.trees) > 0
    assert np.abs(plain.curves.values).max() > 0.1
    assert len(curves.trees) == 0
    others = np.arange(len(trees.curves.features)) != trees.curves.features.index("log_n_orders")
    assert np.abs(trees.curves.values[others]).max() < 1e-6 < np.abs(trees.trees.value).max()
    assert before == (mixture.CURVES_SHARE, ranker.TILT, ranker.sampled)


def test_the_page_lists_first_what_hurts_most_and_marks_what_is_certain() -> None:
    def row(name: str, by: float) -> tuple[Variant, list[Difference]]:
        return Variant("step", name), [Difference(by, by - 0.001, by + 0.001, 100)] * len(METRICS)

    text = page(dict.fromkeys(METRICS, 0.5), [row("small", -0.0005), row("large", -0.1)], "how")
    assert text.index("| large |") < text.index("| small |")
    assert "**−0.1000** [−0.1010, −0.0990]" in text
    assert "| −0.0005 [" in text
