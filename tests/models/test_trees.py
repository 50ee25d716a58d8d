"""Boosted trees kept as arrays give what scikit-learn's own model gives."""

import numpy as np
import pytest

from nextoffer.bundle.parts import read_part, write_part
from nextoffer.models.trees import Trees, fit_trees, log_odds, probability

NAMES = ("a", "b", "c")


def _rows(n: int = 4_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 3))
    x[rng.random(x.shape) < 0.1] = np.nan
    y = rng.random(n) < 1 / (1 + np.exp(1 - 2 * np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1])))
    return x, y, rng.uniform(0.5, 2, n)


def test_the_arrays_give_the_probabilities_of_the_model_they_came_from():
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y, weight = _rows()
    x = np.round(4 * x) / 4  # few values: each its own bin, there as here
    model = HistGradientBoostingClassifier(
        learning_rate=0.08,
        max_iter=20,
        max_leaf_nodes=15,
        min_samples_leaf=50,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=5,
    ).fit(x, y, weight)
    ours = fit_trees(x, y, weight, NAMES, seed=5, n_trees=20, n_leaves=15)
    assert len(ours) == 20
    np.testing.assert_allclose(probability(ours, x), model.predict_proba(x)[:, 1], rtol=0, atol=1e-12)


def test_values_beyond_the_bins_are_parted_where_about_as_many_rows_fall_on_either_side():
    x = np.random.default_rng(1).permutation(10_000).astype(float)[:, None]
    trees = fit_trees(
        x, x[:, 0] > 7_000, None, ("a",), seed=0, n_trees=1, n_leaves=2, max_bins=20, learning_rate=1.0
    )
    assert trees.threshold[0] == 7_000
    assert (probability(trees, np.array([[7_000.0], [7_001.0]])) < 0.5).tolist() == [True, False]


def test_a_row_scores_the_same_in_any_batch_and_any_float_type():
    x, y, _ = _rows()
    trees = fit_trees(x.astype(np.float32), y, None, NAMES, seed=0, n_trees=5)
    whole = log_odds(trees, x.astype(np.float32))
    single = np.concatenate([log_odds(trees, row[None, :]) for row in x[:50].astype(np.float32)])
    assert (whole[:50] == single).all()


def test_the_same_rows_grow_the_same_trees():
    x, y, weight = _rows()
    one, two = (fit_trees(x, y, weight, NAMES, seed=1, n_trees=5, feature_share=0.5) for _ in range(2))
    assert all(
        np.array_equal(getattr(one, n), getattr(two, n)) for n in ("feature", "threshold", "value", "left")
    )


@pytest.mark.parametrize("mapped", [False, True])
def test_trees_come_back_from_a_bundle_as_they_were(tmp_path, mapped):
    x, y, _ = _rows()
    trees = fit_trees(x, y, None, NAMES, seed=0, n_trees=3)
    write_part(tmp_path, "trees", trees, mapped)
    assert (log_odds(read_part(tmp_path, "trees", Trees, mapped), x) == log_odds(trees, x)).all()
