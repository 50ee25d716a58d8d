"""The paired bootstrap against plain loops, closed forms and itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nextoffer.backtest import resample
from nextoffer.backtest.metrics import yes_no_metrics
from nextoffer.backtest.resample import FEW, Sample, differences, drawn


def test_each_draw_has_as_many_customers_as_there_are() -> None:
    times = drawn(np.random.default_rng(0), 50, 200)

    assert times.shape == (50, 200)
    assert (times.sum(axis=1) == 200).all()
    assert times.var() == pytest.approx(1 - 1 / 200, rel=0.05)


def test_intervals_are_those_of_a_plain_loop_over_the_same_draws() -> None:
    rng = np.random.default_rng(1)
    customer, value = rng.integers(0, 80, 200), rng.normal(size=200)
    times = drawn(np.random.default_rng(5), 400, len(np.unique(customer)))
    row = np.searchsorted(np.unique(customer), customer)
    means = [np.average(value, weights=draw[row]) for draw in times]

    (got,) = differences([Sample(customer, value)], seed=5, resamples=400)

    assert got.difference == pytest.approx(value.mean())
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert got.n == len(np.unique(customer))


def test_of_many_independent_customers_the_interval_is_that_of_the_normal_law() -> None:
    value = np.random.default_rng(2).exponential(size=3_000)

    (got,) = differences([Sample(np.arange(3_000), value)], seed=0)

    half = 1.96 * value.std() / np.sqrt(3_000)
    assert got.high - got.low == pytest.approx(2 * half, rel=0.08)


def test_a_customer_seen_at_three_cut_offs_is_one_customer_not_three() -> None:
    value = np.random.default_rng(3).normal(size=500)
    once = Sample(np.arange(500), value)
    thrice = Sample(np.tile(np.arange(500), 3), np.tile(value, 3))

    one, three = differences([once, thrice], seed=0)

    assert (three.low, three.high, three.n) == pytest.approx((one.low, one.high, 500))


def test_a_sample_is_drawn_the_same_whatever_else_is_asked() -> None:
    customer, value = np.arange(100), np.random.default_rng(4).normal(size=100)
    other = Sample(customer, value**2)

    alone = differences([Sample(customer, value)], seed=9)[0]
    beside = differences([other, Sample(customer, value), other], seed=9)[1]

    assert (alone.difference, alone.low, alone.high) == pytest.approx(
        (beside.difference, beside.low, beside.high)
    )


def test_blocks_change_nothing_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(np.arange(300), np.random.default_rng(5).normal(size=300))
    whole = differences([sample], seed=1, resamples=2_000)[0]
    monkeypatch.setattr(resample, "_CELLS", 300 * 7)
    parts = differences([sample], seed=1, resamples=2_000)[0]

    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_too_few_customers_have_no_interval_and_no_verdict() -> None:
    few = Sample(np.arange(FEW - 1), np.ones(FEW - 1))
    told = Sample(np.arange(100), np.ones(100), few=True)
    nobody = Sample(np.zeros(0, np.int64), np.zeros(0))

    for got in differences([few, told], seed=0):
        assert (got.difference, got.low, got.high, got.sign) == (1.0, None, None, 0)
    assert differences([nobody], seed=0)[0].n == 0
    assert differences([], seed=0) == []


def test_a_sign_is_given_where_the_interval_excludes_nothing_at_all() -> None:
    noise = np.random.default_rng(6).normal(size=400)
    up, down, even = differences(
        [Sample(np.arange(400), noise + by) for by in (1.0, -1.0, -noise.mean())], seed=0
    )

    assert (up.sign, down.sign, even.sign) == (1, -1, 0)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        person = rng.normal(size=60)
        value = np.concatenate([person + rng.normal(size=60) * 0.3 for _ in range(2)])
        got = differences([Sample(np.tile(np.arange(60), 2), value)], seed=0, resamples=400)[0]
        held += got.low <= 0 <= got.high

    assert 0.90 <= held / 300 <= 0.98


def test_intervals_of_areas_are_those_of_working_every_resample_out_anew() -> None:
    """scikit-learn's average precision and ROC-AUC of each resample, against the first-order intervals."""
    rng = np.random.default_rng(8)
    n, customer = 250, np.repeat(np.arange(250), 8)
    liking = rng.normal(size=n)[customer]
    happened = rng.random(n * 8) < 1 / (1 + np.exp(2.5 - liking))
    good, poor = liking + rng.normal(size=n * 8), liking + 2 * rng.normal(size=n * 8)
    times = drawn(np.random.default_rng(0), 400, n)[:, customer]
    ours, theirs = (yes_no_metrics(score, happened, customer, n, False) for score in (good, poor))

    for name, figure in (("pr_auc", average_precision_score), ("roc_auc", roc_auc_score)):
        (got,) = differences([Sample(np.arange(n), ours[name] - theirs[name])], seed=0)
        anew = [
            figure(happened, good, sample_weight=w) - figure(happened, poor, sample_weight=w) for w in times
        ]
        low, high = np.quantile(anew, [0.025, 0.975])
        assert (got.low, got.high) == pytest.approx((low, high), abs=0.15 * (high - low))
