"""Metrics against plain loops and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score

from nextoffer.backtest.metrics import calibration_error, list_metrics, yes_no_metrics

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
    recall, ndcg, hits = [], [], []
    for row, products in bought.items():
        if not products:
            continue
        gains = [product in products for product in ranked[row].tolist()]
        recall.append(sum(gains) / len(products))
        ideal = sum(1 / math.log2(place + 2) for place in range(min(len(products), 5)))
        ndcg.append(sum(gain / math.log2(place + 2) for place, gain in enumerate(gains)) / ideal)
        hits.append(any(gains))

    got = list_metrics(ranked, *pairs(bought), n_products=15)

    mean = {"recall@5": recall, "ndcg@5": ndcg, "hit@5": hits}
    assert got == pytest.approx(
        {name: float(np.mean(values)) if values else 0.0 for name, values in mean.items()}
    )


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


def test_lists_nobody_bought_from_score_nothing() -> None:
    none = np.zeros(0, np.int32)

    assert list_metrics(np.zeros((3, 5), int), none, none, 9) == {
        "recall@5": 0.0,
        "ndcg@5": 0.0,
        "hit@5": 0.0,
    }


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_yes_and_no_are_judged_as_scikit_learn_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(60), 1)  # with ties
    happened = rng.random(60) < 0.2 + 0.6 * score
    happened[:2] = [True, False]

    got = yes_no_metrics(score, happened, probability=True)

    assert got["pr_auc"] == pytest.approx(average_precision_score(happened, score))
    assert got["roc_auc"] == pytest.approx(roc_auc_score(happened, score))
    assert got["brier"] == pytest.approx(brier_score_loss(happened, score))
    assert set(yes_no_metrics(score, happened, probability=False)) == {"pr_auc", "roc_auc"}


@pytest.mark.parametrize("happened", [[True, True], [False, False]])
def test_what_always_or_never_happened_cannot_be_judged(happened: list[bool]) -> None:
    assert yes_no_metrics(np.array([0.1, 0.9]), np.array(happened), probability=True) == {}


def test_promises_kept_have_no_calibration_error_and_others_the_gap() -> None:
    p = np.repeat([0.1, 0.5, 0.9], 100)
    kept = np.concatenate([np.arange(100) < share for share in (10, 50, 90)])
    order = np.random.default_rng(0).permutation(300)

    assert calibration_error(p, kept, n_bins=3) == pytest.approx(0.0)
    assert calibration_error(p[order], kept[order], n_bins=3) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(p + 0.05, kept, n_bins=3) == pytest.approx(0.05)
    assert calibration_error(np.array([0.3]), np.array([True])) == pytest.approx(0.7)
