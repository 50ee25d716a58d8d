"""Metrics against plain loops and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score

from nextoffer.backtest.metrics import (
    average_precision,
    calibration_error,
    list_metrics,
    roc_auc,
    yes_no_metrics,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_lists(seed: int, m: int = 12, n: int = 15, k: int = 5) -> tuple[np.ndarray, dict[int, set[int]]]:
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(n)[:k] for _ in range(m)])
    for row in range(m):
        ranked[row, rng.integers(0, k + 1) :] = -1
    bought = {row: set(rng.permutation(n)[: rng.integers(0, 8)].tolist()) for row in range(m)}
    return ranked, bought


def pairs(bought: dict[int, set[int]]) -> tuple[np.ndarray, np.ndarray]:
    both = [(row, product) for row, products in bought.items() for product in products]
    return np.array([row for row, _ in both], dtype=np.int32), np.array([p for _, p in both], dtype=np.int32)


@given(SEEDS)
def test_lists_are_judged_as_a_plain_loop_judges_them(seed: int) -> None:
    ranked, bought = random_lists(seed)
    expected: dict[str, list[float]] = {"recall@5": [], "ndcg@5": [], "hit@5": []}
    for row, products in bought.items():
        gains = [product in products for product in ranked[row].tolist()]
        ideal = sum(1 / math.log2(place + 2) for place in range(min(len(products), 5)))
        found = sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))
        expected["recall@5"].append(sum(gains) / len(products) if products else math.nan)
        expected["ndcg@5"].append(found / ideal if products else math.nan)
        expected["hit@5"].append(float(any(gains)) if products else math.nan)

    got = list_metrics(ranked, *pairs(bought), n_products=15)

    assert got.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_ndcg_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(20)[None, :].astype(float)
    truth = rng.random((1, 20)) < 0.3
    truth[0, 0] = True
    ranked = np.argsort(-scores, axis=1)[:, :10]

    got = list_metrics(ranked, np.zeros(truth.sum(), int), np.flatnonzero(truth[0]), 20)

    assert got["ndcg@10"] == pytest.approx(ndcg_score(truth.astype(int), scores, k=10))


def test_a_pair_named_twice_was_bought_once() -> None:
    ranked = np.array([[3, 1]])

    got = list_metrics(ranked, np.array([0, 0]), np.array([3, 3]), 5)

    assert got == {"recall@2": [1.0], "ndcg@2": [1.0], "hit@2": [1.0]}


def some_scores(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, what happened, and whose row it is: 20 customers, each with a row at least."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(n), 1)
    happened = rng.random(n) < 0.2 + 0.6 * score
    happened[:2] = [True, False]
    return score, happened, np.concatenate([np.arange(20), rng.integers(0, 20, n - 20)])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_yes_and_no_are_judged_as_scikit_learn_does(seed: int) -> None:
    score, happened, customer = some_scores(seed)

    got = yes_no_metrics(score, happened, customer, 20, probability=True)

    assert all(values.shape == (20,) for values in got.values())
    assert got["pr_auc"].mean() == pytest.approx(average_precision_score(happened, score))
    assert got["roc_auc"].mean() == pytest.approx(roc_auc_score(happened, score))
    assert got["brier"].mean() == pytest.approx(brier_score_loss(happened, score))
    assert set(yes_no_metrics(score, happened, customer, 20, probability=False)) == {"pr_auc", "roc_auc"}


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_customers_value_is_what_counting_them_a_little_more_does_to_the_figure(seed: int) -> None:
    """The derivative of scikit-learn's weighted figures, by differences."""
    score, happened, customer = some_scores(seed)
    library = {"pr_auc": average_precision_score, "roc_auc": roc_auc_score, "brier": brier_score_loss}

    got = yes_no_metrics(score, happened, customer, 20, probability=True)

    for name, figure in library.items():
        for who in (0, 7, 19):
            more, less = (
                figure(happened, score, sample_weight=1.0 + by * (customer == who)) for by in (1e-4, -1e-4)
            )
            assert (got[name][who] - got[name].mean()) / 20 == pytest.approx((more - less) / 2e-4, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_influences_cancel_out(seed: int) -> None:
    score, happened, _ = some_scores(seed)

    for measure in (average_precision, roc_auc, calibration_error):
        assert measure(score, happened)[1].sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("happened", [[True, True], [False, False]])
def test_what_always_or_never_happened_cannot_be_judged(happened: list[bool]) -> None:
    assert yes_no_metrics(np.array([0.1, 0.9]), np.array(happened), np.arange(2), 2, probability=True) == {}


def test_promises_kept_have_no_calibration_error_and_others_the_gap() -> None:
    p = np.repeat([0.1, 0.5, 0.9], 100)
    kept = np.concatenate([np.arange(100) < share for share in (10, 50, 90)])
    order = np.random.default_rng(0).permutation(300)

    assert calibration_error(p, kept, n_bins=3)[0] == pytest.approx(0.0)
    assert calibration_error(p[order], kept[order], n_bins=3)[0] == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(p + 0.05, kept, n_bins=3)[0] == pytest.approx(0.05)
    assert calibration_error(np.array([0.3]), np.array([True]))[0] == pytest.approx(0.7)


@given(SEEDS)
def test_no_figure_depends_on_the_order_of_the_rows(seed: int) -> None:
    score, happened, _ = some_scores(seed)
    order = np.random.default_rng(seed).permutation(len(score))

    for measure in (average_precision, roc_auc, calibration_error):
        assert measure(score, happened)[0] == pytest.approx(measure(score[order], happened[order])[0])
