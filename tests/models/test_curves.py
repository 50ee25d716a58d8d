"""The curves' logistic regression gives what scikit-learn's gives, and finds the shape it was shown."""

import numpy as np
import pytest

from nextoffer.models.curves import PILOT, evaluate, fit_rows, log_odds, logistic


@pytest.mark.parametrize("n", [400, 60_000])
def test_slopes_are_those_of_scikit_learn_with_and_without_a_pilot(n):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x = rng.random((n, 4))
    y = rng.random(n) < 1 / (1 + np.exp(2 - 3 * x[:, 0] + x[:, 1]))
    weight = np.where(y, 1.0, 3.0)
    model = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12, max_iter=100)
    model.fit(x, y, sample_weight=weight)
    slopes, intercept = logistic(x, y, weight, 2.0)
    np.testing.assert_allclose(slopes, model.coef_[0], rtol=1e-3, atol=1e-4)
    assert intercept == pytest.approx(model.intercept_[0], rel=1e-3)
    single, _ = logistic(x.astype(np.float32), y, weight, 2.0)
    np.testing.assert_allclose(single, slopes, rtol=1e-3, atol=1e-3)


def test_rows_that_one_threshold_parts_still_have_finite_slopes():
    x = np.arange(2_000.0)[:, None] / 2_000
    slopes, intercept = logistic(x, x[:, 0] > 0.5, np.ones(2_000), ridge=0.1)
    assert np.isfinite(slopes).all()
    assert -intercept / slopes[0] == pytest.approx(0.5, abs=0.01)


def test_a_pilot_changes_where_newton_starts_and_not_where_it_ends(monkeypatch):
    from nextoffer.models import curves

    rng = np.random.default_rng(4)
    x = rng.normal(size=(8_000 * PILOT, 2))
    y = rng.random(len(x)) < 1 / (1 + np.exp(1 - np.abs(x[:, 0])))
    names, weight = ("a", "b"), np.ones(len(x))
    with_pilot = log_odds(fit_rows(x, y, weight, names, 10.0), x)
    monkeypatch.setattr(curves, "ENOUGH_ROWS", len(x))
    np.testing.assert_allclose(log_odds(fit_rows(x, y, weight, names, 10.0), x), with_pilot, atol=0.01)


def test_a_curve_bends_where_the_chance_does():
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, (40_000, 1))
    truth = 1 / (1 + np.exp(1 - x[:, 0] ** 2))
    found = evaluate(fit_rows(x, rng.random(len(x)) < truth, np.ones(len(x)), ("a",), 1.0), x)
    assert np.abs(found - truth).mean() < 0.03
