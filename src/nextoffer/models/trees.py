"""Boosted trees: scikit-learn's histogram gradient boosting, fitted here, kept as arrays, evaluated by its own
compiled predictor. No pickle: a bundle holds the nodes as plain columns.

References
----------
Friedman (2001), Annals of Statistics 29(5); Ke et al. (2017), LightGBM, for growing by leaves on histograms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Floats, Ints

BLOCK = 8_192  # rows at a time: all trees pass over a block while it is in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """A sum of trees on the log-odds scale. Children are node numbers within their tree; a leaf has none.

    Parameters
    ----------
    features : names, in column order
    start : (n_trees + 1,) int64 where each tree's nodes begin
    feature : (n_nodes,) int16 column a node splits on, −1 in a leaf
    threshold : (n_nodes,) float64, rows with x ≤ threshold go left
    missing_left : (n_nodes,) bool, rows without a value (NaN) go left
    left, right : (n_nodes,) int16; value : (n_nodes,) float64, what a leaf adds
    baseline : log-odds before the first tree
    """

    features: tuple[str, ...]
    start: Ints
    feature: Ints
    threshold: Floats
    missing_left: Bools
    left: Ints
    right: Ints
    value: Floats
    baseline: float

    def __len__(self) -> int:
        return len(self.start) - 1


def fit_trees(
    x: Floats,
    y: Bools,
    weight: Floats | None,
    names: tuple[str, ...],
    *,
    seed: int,
    n_trees: int = 150,
    n_leaves: int = 31,
    min_rows: int = 50,
    learning_rate: float = 0.08,
    l2: float = 1.0,
    max_bins: int = 255,
    feature_share: float = 1.0,
) -> Trees:
    """Binary log-loss on (n, n_features) rows; needs both labels. One thread: same input, same trees.

    Parameters
    ----------
    weight : (n,) or None; sampled negatives carry the inverse of their share
    min_rows : fewest rows in a leaf
    feature_share : share of the features looked at in each split
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    edges = [_edges(column, max_bins) for column in x.T]
    model = HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_iter=n_trees,
        max_leaf_nodes=n_leaves,
        min_samples_leaf=min_rows,
        l2_regularization=l2,
        max_bins=max_bins,
        max_features=feature_share,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1):
        model.fit(_binned(x, edges), np.asarray(y, dtype=np.int8), sample_weight=weight)
    nodes = [tree.nodes for (tree,) in model._predictors]
    every = np.concatenate(nodes)
    leaf = every["is_leaf"].astype(bool)
    return Trees(
        names,
        np.concatenate([[0], np.cumsum([len(tree) for tree in nodes])]).astype(np.int64),
        np.where(leaf, -1, every["feature_idx"]).astype(np.int16),
        _thresholds(every["feature_idx"], np.where(leaf, np.nan, every["num_threshold"]), edges),
        every["missing_go_to_left"].astype(bool),
        every["left"].astype(np.int16),
        every["right"].astype(np.int16),
        np.where(leaf, every["value"], 0.0),
        float(model._baseline_prediction[0, 0]),
    )


def _edges(column: Floats, n_bins: int) -> Floats:
    """(< n_bins,) rising ends of bins of about as many rows each, or one for each value where there are few.

    scikit-learn's own search for weighted quantiles sorts each column once for every bin: most of its time.
    """
    values = np.sort(column[~np.isnan(column)])
    distinct = values[np.r_[True, values[1:] != values[:-1]]] if len(values) else values
    if len(distinct) <= n_bins:
        return (distinct[1:].astype(np.float64) + distinct[:-1]) / 2
    at = np.arange(1, n_bins) * len(values) // n_bins
    edges = values[at].astype(np.float64)
    return edges[np.r_[True, edges[1:] != edges[:-1]]]


def _binned(x: Floats, edges: list[Floats]) -> Floats:
    """(n, n_features) number of the bin of each value, NaN where there is none."""
    codes = np.empty(x.shape, dtype=np.float64)
    for j, ends in enumerate(edges):
        codes[:, j] = np.where(np.isnan(x[:, j]), np.nan, np.searchsorted(ends, x[:, j]))
    return codes


def _thresholds(feature: Ints, code: Floats, edges: list[Floats]) -> Floats:
    """Ends of the last bins that go left, from thresholds between bin numbers; 0 in a leaf (NaN)."""
    found = np.where(np.isnan(code), 0.0, code)
    for j, ends in enumerate(edges):
        split = (feature == j) & np.isfinite(code)
        found[split] = ends[code[split].astype(np.int64)]
    return found


def no_trees(names: tuple[str, ...]) -> Trees:
    """A sum of nothing: log-odds 0 for every row."""
    none = np.zeros(0)
    whole, no = none.astype(np.int16), none.astype(bool)
    return Trees(names, np.zeros(1, np.int64), whole, none, no, whole, whole, none, 0.0)


def log_odds(trees: Trees, x: Floats) -> Floats:
    """(n,) float64 log-odds of (n, n_features) rows: each row by itself, the same in any batch."""
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    no_categories = np.zeros((0, 8), dtype=np.uint32)
    no_map = np.zeros(x.shape[1], dtype=np.uint32)
    records = _records(trees)
    predictors = [
        TreePredictor(records[a:b], no_categories, no_categories)
        for a, b in zip(trees.start[:-1], trees.start[1:], strict=True)
    ]
    total = np.full(len(x), trees.baseline)
    for begin in range(0, len(x), BLOCK):
        rows = np.ascontiguousarray(x[begin : begin + BLOCK], dtype=np.float64)
        for predictor in predictors:
            total[begin : begin + BLOCK] += predictor.predict(rows, no_categories, no_map, 1)
    return total


def probability(trees: Trees, x: Floats) -> Floats:
    """(n,) float64 probabilities of (n, n_features) rows."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds(trees, x))))


def _records(trees: Trees) -> npt.NDArray[np.void]:
    """The nodes as scikit-learn's predictor reads them; fields it does not need are 0."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = np.zeros(len(trees.feature), dtype=PREDICTOR_RECORD_DTYPE)
    nodes["is_leaf"] = trees.feature < 0
    nodes["feature_idx"] = np.maximum(trees.feature, 0)
    nodes["num_threshold"] = trees.threshold
    nodes["missing_go_to_left"] = trees.missing_left
    nodes["left"] = trees.left
    nodes["right"] = trees.right
    nodes["value"] = trees.value
    return nodes
