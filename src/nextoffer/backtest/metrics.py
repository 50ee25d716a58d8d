"""Metrics: pure functions of what was ranked and what happened."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints


def list_metrics(ranked: Ints, customer: Ints, product: Ints, n_products: int) -> dict[str, float]:
    """Recall, NDCG and hit rate of ranked lists, averaged over the customers who bought something.

    NDCG compares with the best list possible of that length (its ideal has min(k, number bought) hits).

    Parameters
    ----------
    ranked : (m, k) product rows, best first, −1 where a list ends early
    customer, product : (n,) distinct pairs bought; customer is a position in `ranked`

    References
    ----------
    Järvelin & Kekäläinen (2002), TOIS 20(4).
    """
    m, k = ranked.shape
    truth = np.unique(np.asarray(customer, dtype=np.int64) * n_products + product)
    n_bought = np.bincount(np.asarray(customer, dtype=np.int64), minlength=m)
    judged = n_bought > 0
    keys = np.arange(m, dtype=np.int64)[:, None] * n_products + ranked
    hit = np.isin(keys, truth) & (ranked >= 0)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_bought, k)]
    hit, n_bought, ideal = hit[judged], n_bought[judged], ideal[judged]
    if not len(hit):
        return {f"recall@{k}": 0.0, f"ndcg@{k}": 0.0, f"hit@{k}": 0.0}
    return {
        f"recall@{k}": float((hit.sum(axis=1) / n_bought).mean()),
        f"ndcg@{k}": float(((hit @ discount) / ideal).mean()),
        f"hit@{k}": float(hit.any(axis=1).mean()),
    }


def yes_no_metrics(score: Floats, happened: Bools, probability: bool) -> dict[str, float]:
    """PR-AUC (average precision) and ROC-AUC of a score; the Brier score too where it is a probability."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not 0 < happened.sum() < len(happened):
        return {}
    metrics = {
        "pr_auc": float(average_precision_score(happened, score)),
        "roc_auc": float(roc_auc_score(happened, score)),
    }
    if probability:
        metrics["brier"] = float(np.mean((score - happened) ** 2))
        metrics["calibration_error"] = calibration_error(score, happened)
    return metrics


def calibration_error(p: Floats, happened: Bools, n_bins: int = 10) -> float:
    """Mean gap between promised and observed frequency over equally filled bins of p."""
    order = np.argsort(p, kind="stable")
    bins = np.array_split(order, n_bins)
    gaps = [
        abs(float(p[rows].mean()) - float(happened[rows].mean())) * len(rows) for rows in bins if len(rows)
    ]
    return sum(gaps) / len(p)
