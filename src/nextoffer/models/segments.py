"""Customer segments: frozen k-means on log-scaled recency, frequency and monetary, named by rules.

A night's job predicts with the centroids of the last fit; it refits only when they no longer describe the
shop, and then keeps the cluster ids. So a customer's segment changes because the customer did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import TooLittleHistoryError

DRIFT = 0.05  # relative change of the mean squared distance above which the clusters are fitted anew
_FAR = 3.0  # standard deviations
_STARTS, _START_ROWS = 8, 20_000  # k-means++ starts, on so many rows; the best goes on with all

_HIGH_IS_GOOD = np.array([-1.0, 1.0, 1.0])  # fewer days since the last order are better

Vector = npt.NDArray[np.float64]
QUIET = ("at_risk", "hibernating", "lost")  # the slugs of customers not seen for long
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Fitted clusters of customers.

    Parameters
    ----------
    mean, scale : (3,) of log1p recency (days), frequency (orders), monetary (currency) at the fit
    centroids : (k, 3) in the scaled space, 1 ≤ k ≤ 8
    percentiles : (k, 3) mean percentile (0..1, high = good: recent, often, much) of each cluster at the fit;
        the names were given from these and stay while the clusters are frozen
    labels : (k,) slug of each cluster; two clusters may share one
    inertia : mean squared distance of a customer to the nearest centroid at the fit
    """

    mean: Vector
    scale: Vector
    centroids: Vector
    percentiles: Vector
    labels: tuple[str, ...]
    inertia: float


def fit_segments(
    recency_days: Ints | Floats,
    frequency: Ints | Floats,
    monetary: Floats,
    seed: int,
    k: int = 8,
    sample: int = 200_000,
    previous: Segments | None = None,
) -> Segments:
    """Clusters of customers; those of last time unless they fit the shop more than 5 % worse or better.

    The order of the rows is irrelevant: they are sorted first, and a shop of more than `sample` customers is
    thinned evenly along that order.

    Parameters
    ----------
    recency_days, frequency, monetary : (n,) days since the last order, number of orders, spend in currency
    previous : the clusters in service; a refit keeps the ids of the nearest old centroids

    Raises
    ------
    TooLittleHistoryError : there is no customer.
    """
    logs = _thinned(_sorted_rows(_logs(recency_days, frequency, monetary)), sample)
    if not len(logs):
        raise TooLittleHistoryError(
            "segments need at least 1 customer with an order before as_of, got 0. "
            "Map customer_id under [history.orders], or choose a later --as-of."
        )
    if previous is not None and _still_fits(previous, logs):
        return previous
    fitted = _fit(logs, k, seed)
    return _ordered(fitted, _canonical(fitted) if previous is None else _aligned(fitted, previous))


def predict_segments(
    segments: Segments, recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats
) -> Codes:
    """(n,) cluster of each customer: the nearest centroid, ties to the lower id.

    Each customer is worked out by itself (no matrix product), so the size of a batch changes nothing.
    """
    return _nearest(segments, _logs(recency_days, frequency, monetary))[0]


def segment_codes(segments: Segments, clusters: Ints) -> Codes:
    """(n,) index into `domain.tables.SEGMENTS` of each customer's cluster."""
    codes = np.array([SEGMENTS.index(label) for label in segments.labels], dtype=np.int8)
    return np.asarray(codes[clusters], dtype=np.int8)


def published_codes(segments: Segments, clusters: Ints, recency_days: Ints, frequency: Ints) -> Codes:
    """(n,) index into SEGMENTS of each customer: the cluster's name, unless the customer has gone quiet.

    A cluster is named by its middle; a heavy buyer of long ago can still lie nearest to the champions. Who has
    been silent for as long as the middle of a cluster that is named for silence is at_risk (two orders or
    more) or hibernating, whatever they once bought.
    """
    codes = segment_codes(segments, clusters)
    quiet = np.isin(segments.labels, QUIET)
    if not quiet.any():
        return codes
    middles = np.expm1(segments.centroids[:, 0] * segments.scale[0] + segments.mean[0])
    gone = (np.asarray(recency_days) >= middles[quiet].min()) & ~quiet[clusters]
    at_risk, hibernating = SEGMENTS.index("at_risk"), SEGMENTS.index("hibernating")
    codes[gone] = np.where(np.asarray(frequency)[gone] > 1, at_risk, hibernating)
    return codes


def segment_name(recency: float, frequency: float, monetary: float, orders: float) -> str:
    """Slug of a cluster from its mean percentiles (0..1, high = good) and its typical number of orders.

    The first row that holds names it:

    | slug               | recency | frequency     | monetary  | orders | in words                        |
    | ------------------ | ------- | ------------- | --------- | ------ | ------------------------------- |
    | champions          | ≥ .60   | ≥ .75         | ≥ .70     |        | bought lately, often and much   |
    | loyal              | ≥ .40   | ≥ .60         |           |        | keep coming                     |
    | new                | ≥ .60   |               |           | < 1.5  | first order not long ago        |
    | potential_loyalist | ≥ .60   | ≥ .40         |           |        | recent, has come back           |
    | promising          | ≥ .60   |               |           |        | recent, still rare              |
    | needs_attention    | ≥ .40   |               |           |        | middling, slipping away         |
    | at_risk            | < .40   | ≥ .50, or     | ≥ .60     |        | good customers, long not seen   |
    | hibernating        | < .40   |               | ≥ .30     |        | rare, long not seen             |
    | lost               | < .40   |               | < .30     |        | rare, small, long not seen      |
    """
    if recency >= 0.60 and frequency >= 0.75 and monetary >= 0.70:
        return "champions"
    if recency >= 0.40 and frequency >= 0.60:
        return "loyal"
    if recency >= 0.60:
        if orders < 1.5:
            return "new"
        return "potential_loyalist" if frequency >= 0.40 else "promising"
    if recency >= 0.40:
        return "needs_attention"
    if frequency >= 0.50 or monetary >= 0.60:
        return "at_risk"
    return "hibernating" if monetary >= 0.30 else "lost"


def quintiles(recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats) -> Codes:
    """(n, 3) plain R, F, M scores 1..5 (5 = most recent, often, spent); equal values score alike."""
    columns: Vector = np.column_stack([recency_days, frequency, monetary]).astype(np.float64) * _HIGH_IS_GOOD
    scores: Codes = np.minimum(1 + np.floor(5 * _percentiles(columns)), 5).astype(np.int8)
    return scores


def segment_table(
    codes: Ints, recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats
) -> list[dict[str, Any]]:
    """One row per segment that has customers: size, share, share of revenue, ranges of R, F and M.

    Parameters
    ----------
    codes : (n,) index into SEGMENTS
    """
    named = {"recency_days": recency_days, "frequency": frequency, "monetary": monetary}
    measures = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    spend = np.maximum(measures["monetary"], 0.0)
    revenue = float(spend.sum())
    rows: list[dict[str, Any]] = []
    for code, slug in enumerate(SEGMENTS):
        members = np.flatnonzero(np.asarray(codes) == code)
        if not len(members):
            continue
        row: dict[str, Any] = {
            "segment": slug,
            "customers": len(members),
            "share": len(members) / len(codes),
            "revenue_share": float(spend[members].sum()) / revenue if revenue > 0 else 0.0,
        }
        rows.append(row | {name: _range(values[members]) for name, values in measures.items()})
    return rows


def _range(values: Vector) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }


def _logs(recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats) -> Vector:
    """(n, 3) log1p; net spend below zero (returns of older orders) counts as nothing."""
    columns = np.column_stack([recency_days, frequency, monetary]).astype(np.float64)
    logs: Vector = np.log1p(np.maximum(columns, 0.0))
    return logs


def _sorted_rows(logs: Vector) -> Vector:
    return logs[np.lexsort(logs.T[::-1])]


def _thinned(rows: Vector, sample: int) -> Vector:
    if len(rows) <= sample:
        return rows
    return rows[np.arange(sample, dtype=np.int64) * len(rows) // sample]


def _scaled(logs: Vector, mean: Vector, scale: Vector) -> Vector:
    """Standard scores, held within ±3: else a handful who returned all they bought take up a cluster."""
    return np.clip((logs - mean) / scale, -_FAR, _FAR)


def _still_fits(previous: Segments, logs: Vector) -> bool:
    now = float(_nearest(previous, logs)[1].mean())
    return abs(now - previous.inertia) <= DRIFT * previous.inertia


def _fit(logs: Vector, k: int, seed: int) -> Segments:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    mean, spread = logs.mean(axis=0), logs.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    scaled = _scaled(logs, mean, scale)
    few = _thinned(scaled, _START_ROWS)
    distinct = 1 + int(np.any(few[1:] != few[:-1], axis=1).sum())
    start = KMeans(n_clusters=min(k, distinct), n_init=_STARTS, random_state=seed)
    with threadpool_limits(1):  # sums of several threads differ in the last digits from night to night
        centroids = start.fit(few).cluster_centers_
        if len(few) < len(scaled):
            centroids = KMeans(len(centroids), init=centroids, n_init=1).fit(scaled).cluster_centers_
    centroids = centroids.astype(np.float64)
    bare = Segments(mean, scale, centroids, np.zeros_like(centroids), ("",) * len(centroids), 0.0)
    members, squares = _nearest(bare, logs)
    percentiles = _mean_of(_percentiles(logs * _HIGH_IS_GOOD), members, len(centroids))
    orders = np.expm1(centroids[:, 1] * scale[1] + mean[1])
    labels = tuple(segment_name(r, f, m, n) for (r, f, m), n in zip(percentiles, orders, strict=True))
    return replace(bare, percentiles=percentiles, labels=labels, inertia=float(squares.mean()))


def _mean_of(values: Vector, groups: Ints, n: int) -> Vector:
    """(n, 3) column means per group; a centroid no customer is nearest to stands in the middle."""
    counts = np.bincount(groups, minlength=n)
    sums = np.column_stack([np.bincount(groups, weights=column, minlength=n) for column in values.T])
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], 0.5)


def _percentiles(columns: Vector) -> Vector:
    """(n, 3) share of rows below each value, half of the equal ones counted."""
    ranks = np.empty(columns.shape)
    for place, column in enumerate(columns.T):
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks[:, place] = ((np.cumsum(counts) - counts / 2) / max(len(column), 1))[inverse]
    return ranks


def _nearest(segments: Segments, logs: Vector) -> tuple[Codes, Vector]:
    """(n,) nearest centroid and (n,) squared distance to it, ties to the lower id."""
    recency, frequency, monetary = _scaled(logs, segments.mean, segments.scale).T
    chosen, least = np.zeros(len(logs), dtype=np.int8), np.full(len(logs), np.inf)
    for cluster, (r, f, m) in enumerate(segments.centroids):
        square = (recency - r) ** 2 + (frequency - f) ** 2 + (monetary - m) ** 2
        nearer = square < least
        chosen[nearer], least[nearer] = cluster, square[nearer]
    return chosen, least


def _canonical(fitted: Segments) -> Ints:
    """Order of a first fit: best segment first, within it the most spent."""
    ranks = np.array([SEGMENTS.index(label) for label in fitted.labels])
    recency, frequency, monetary = fitted.centroids.T
    return np.lexsort((recency, -frequency, -monetary, ranks))


def _aligned(fitted: Segments, previous: Segments) -> Ints:
    """Order of a refit: each centroid in the place of the old one it is matched to, new ones last."""
    old = ((previous.centroids * previous.scale + previous.mean) - fitted.mean) / fitted.scale
    gaps = fitted.centroids[:, None, :] - old[None, :, :]
    rows, places = linear_sum_assignment((gaps**2).sum(axis=2))
    target = np.full(len(fitted.centroids), len(old))
    target[rows] = places
    return np.lexsort((np.arange(len(target)), target))


def _ordered(fitted: Segments, order: Ints) -> Segments:
    return replace(
        fitted,
        centroids=fitted.centroids[order],
        percentiles=fitted.percentiles[order],
        labels=tuple(fitted.labels[row] for row in order),
    )
