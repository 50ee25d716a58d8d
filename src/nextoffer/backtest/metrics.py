"""Metrics as one value per customer, whose mean is the figure: so that customers can be resampled in pairs.

Of a list the value is the customer's own recall. Of a score over many rows (which pair is bought again, who
stays away) it is the figure plus the customer's share in it, its *influence*: to first order, what the figure
would change by if the customer counted twice. The mean over any resample of customers is then, to first
order, the figure of that resample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Floats, Ints

Vector = npt.NDArray[np.float64]
NDCG = "a hit at place i counts 1 / log2(i + 1); the ideal list has min(k, products bought) hits"
LOWER_IS_BETTER = ("brier", "calibration_error")


def list_metrics(ranked: Ints, customer: Ints, product: Ints, n_products: int) -> dict[str, Vector]:
    """Recall, NDCG and hit of ranked lists: metric -> (m,), NaN for customers who bought nothing.

    NDCG compares with the best list possible of that length (its ideal has min(k, number bought) hits).

    Parameters
    ----------
    ranked : (m, k) product rows, best first, −1 where a list ends early
    customer, product : (n,) pairs bought; customer is a position in `ranked`

    References
    ----------
    Järvelin & Kekäläinen (2002), TOIS 20(4).
    """
    m, k = ranked.shape
    truth = np.unique(np.asarray(customer, dtype=np.int64) * n_products + product)
    n_bought = np.bincount(truth // n_products, minlength=m)
    keys = np.arange(m, dtype=np.int64)[:, None] * n_products + ranked
    hit = np.isin(keys, truth) & (ranked >= 0)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])[np.minimum(n_bought, k)]
    return {
        f"recall@{k}": hit.sum(axis=1) / np.where(n_bought > 0, n_bought, np.nan),
        f"ndcg@{k}": (hit @ discount) / ideal,
        f"hit@{k}": np.where(n_bought > 0, hit.any(axis=1), np.nan),
    }


def yes_no_metrics(
    score: Floats, happened: Bools, customer: Ints, n_customers: int, probability: bool
) -> dict[str, Vector]:
    """PR-AUC (average precision) and ROC-AUC of a score, per customer; Brier score and calibration too.

    Parameters
    ----------
    score, happened : (n,) higher = likelier, and whether it did
    customer : (n,) 0 … n_customers - 1, whose row it is; each has at least one
    probability : whether `score` is one, so that Brier score and calibration error make sense

    Returns
    -------
    metric -> (n_customers,) values whose mean is the figure; nothing where all or none happened
    """
    happened = np.asarray(happened, dtype=bool)
    if not 0 < happened.sum() < len(happened):
        return {}
    rows = {"pr_auc": average_precision(score, happened), "roc_auc": roc_auc(score, happened)}
    if probability:
        error = (np.asarray(score, dtype=np.float64) - happened) ** 2
        rows["brier"] = float(error.mean()), (error - error.mean()) / len(error)
        rows["calibration_error"] = calibration_error(score, happened)
    return {
        name: np.asarray(figure + n_customers * np.bincount(customer, influence, n_customers))
        for name, (figure, influence) in rows.items()
    }


def average_precision(score: Floats, happened: Bools) -> tuple[float, Vector]:
    """Mean precision at each event, rows of one score counted together; and each row's influence on it.

    With T and N the events and rows at or above a score, the figure is Σ over events of T / N ÷ their number;
    a row adds to T and N of its own score and of every lower one.
    """
    group, size, hits = _by_falling_score(score, happened)
    above, events = np.cumsum(size), np.cumsum(hits)
    n_events = int(events[-1])
    precision = events / above
    figure = float(hits @ precision / n_events)
    gain, loss = _from_here_down(hits / above), _from_here_down(hits * precision / above)
    influence = happened * (precision[group] - figure + gain[group]) - loss[group]
    return figure, influence / n_events


def roc_auc(score: Floats, happened: Bools) -> tuple[float, Vector]:
    """How often a row that happened scores above one that did not, ties half; and each row's influence on it.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44(3): the placements.
    """
    group, size, hits = _by_falling_score(score, happened)
    misses = size - hits
    n_events, n_others = int(hits.sum()), int(misses.sum())
    events_above = (np.cumsum(hits) - hits / 2) / n_events
    others_below = 1.0 - (np.cumsum(misses) - misses / 2) / n_others
    figure = float(hits @ others_below / n_events)
    influence = np.where(
        happened,
        (others_below[group] - figure) / n_events,
        (events_above[group] - figure) / n_others,
    )
    return figure, influence


def calibration_error(p: Floats, happened: Bools, n_bins: int = 10) -> tuple[float, Vector]:
    """Mean gap of promised to observed frequency over about equally filled bins of p; and each row's influence.

    Rows of one probability share a bin. To first order the bins stay where they are.
    """
    n = len(p)
    _, group, size = np.unique(p, return_inverse=True, return_counts=True)
    bin_of = np.floor(n_bins * (np.cumsum(size) - size / 2) / n).astype(np.int64)[group]
    gap = np.asarray(p, dtype=np.float64) - happened
    bins = np.bincount(bin_of, gap, n_bins)
    figure = float(np.abs(bins).sum() / n)
    return figure, (np.sign(bins)[bin_of] * gap - figure) / n


def _by_falling_score(score: Floats, happened: Bools) -> tuple[Ints, Vector, Vector]:
    """Group of each row (0 = the highest score), and how many rows and events each group has."""
    _, rising = np.unique(score, return_inverse=True)
    group = rising.max() - rising
    size = np.bincount(group).astype(np.float64)
    return group, size, np.asarray(np.bincount(group, happened, len(size)), dtype=np.float64)


def _from_here_down(values: Vector) -> Vector:
    """(n,) sum of each value and all after it."""
    return np.cumsum(values[::-1])[::-1]
