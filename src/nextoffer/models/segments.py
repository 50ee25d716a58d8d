"""Customer segments: frozen k-means on log-scaled recency, frequency and monetary, named by rules.

A night's job predicts with the centroids of the last fit; it refits once a month, or when they no longer
describe the shop, from where they stood, and then keeps the cluster ids. A published name changes only when
another is clearly nearer or has been nearer for two nights: a segment changes because the customer did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from nextoffer.domain.arrays import Floats, Ints, Strings
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import TooLittleHistoryError
from nextoffer.models.segment_names import QUIET, kept_name, segment_name

DRIFT = 0.05  # relative change of the mean squared distance above which the clusters are fitted anew
REFIT_DAYS = 30  # a fit older than this is made anew
RECENT_DAYS = 30  # added to recency before its logarithm: within a month, a day more tells little
CLEARLY = 1.25  # how much farther the name of last night must lie than tonight's to be dropped at once
_FAR = 3.0  # standard deviations
_STARTS, _START_ROWS = 8, 20_000  # k-means++ starts, on so many rows; the best goes on with all

HIGH_IS_GOOD = np.array([-1.0, 1.0, 1.0])  # fewer days since the last order are better

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Fitted clusters of customers.

    Parameters
    ----------
    mean, scale : (3,) at the fit, of log (recency in days + RECENT_DAYS), log1p frequency (orders) and log1p
        monetary (currency)
    centroids : (k, 3) in the scaled space, 1 ≤ k ≤ 10
    percentiles : (k, 3) mean percentile (0..1, high = good: recent, often, much) of each cluster at the fit;
        the names were given from these and stay while the clusters are frozen
    labels : (k,) slug of each cluster; two clusters may share one
    inertia : mean squared distance of a customer to the nearest centroid at the fit
    fitted_day : the day of the fit, counted as the caller counts days
    """

    mean: Vector
    scale: Vector
    centroids: Vector
    percentiles: Vector
    labels: tuple[str, ...]
    inertia: float
    fitted_day: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class LastNight:
    """What was published last night, in tonight's rows; −1 for who was not known then.

    published, candidate : (n,) index into SEGMENTS: the name published, and the one that was nearest
    """

    published: Codes
    candidate: Codes


def fit_segments(
    recency_days: Ints | Floats,
    frequency: Ints | Floats,
    monetary: Floats,
    seed: int,
    k: int = 10,
    sample: int = 200_000,
    previous: Segments | None = None,
    day: int = 0,
) -> Segments:
    """Clusters of customers; those of last time unless a month old, or fitting the shop 5 % worse or better.

    The order of the rows is irrelevant: they are sorted first, and a shop of more than `sample` customers is
    thinned evenly along that order.

    Parameters
    ----------
    recency_days, frequency, monetary : (n,) days since the last order, number of orders, spend in currency
    previous : the clusters in service; a refit starts from them and keeps the ids of the nearest old centroids
    day : today, as a number that rises by 1 a day

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
    if previous is not None and 0 <= day - previous.fitted_day < REFIT_DAYS and _still_fits(previous, logs):
        return previous
    fitted = replace(_fit(logs, k, seed, previous), fitted_day=day)
    if previous is None:
        return _ordered(fitted, _canonical(fitted))
    return _keeping_names(_ordered(fitted, _aligned(fitted, previous)), previous)


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
    middles = np.exp(segments.centroids[:, 0] * segments.scale[0] + segments.mean[0]) - RECENT_DAYS
    gone = (np.asarray(recency_days) >= middles[quiet].min()) & ~quiet[clusters]
    at_risk, hibernating = SEGMENTS.index("at_risk"), SEGMENTS.index("hibernating")
    codes[gone] = np.where(np.asarray(frequency)[gone] > 1, at_risk, hibernating)
    return codes


def settled_codes(
    segments: Segments,
    tonight: Codes,
    before: LastNight,
    recency_days: Ints | Floats,
    frequency: Ints | Floats,
    monetary: Floats,
) -> Codes:
    """(n,) the names to publish: last night's, but where tonight's is clearly nearer or was so last night too.

    Clearly: the nearest centroid of last night's name lies CLEARLY times as far as that of tonight's, or there
    is none of that name any more. Newcomers get tonight's.

    Parameters
    ----------
    tonight : (n,) from `published_codes`; keep it beside what is published, as tomorrow's `candidate`
    """
    points = _scaled(_logs(recency_days, frequency, monetary), segments.mean, segments.scale)
    names = segment_codes(segments, np.arange(len(segments.labels)))
    to_old, to_new = np.full(len(tonight), np.inf), np.full(len(tonight), np.inf)
    for name, centroid in zip(names, segments.centroids, strict=True):
        away = np.sqrt(((points - centroid) ** 2).sum(axis=1))
        to_old = np.where(before.published == name, np.minimum(to_old, away), to_old)
        to_new = np.where(tonight == name, np.minimum(to_new, away), to_new)
    held = tonight == before.candidate
    change = (before.published < 0) | held | (to_old >= CLEARLY * to_new)
    return np.where(change, tonight, before.published).astype(np.int8)


def last_night(ids: Strings, ids_before: Strings, published: Codes, candidate: Codes) -> LastNight:
    """Last night's columns in the rows of tonight's ids."""
    import pyarrow.compute as pc

    at = pc.fill_null(pc.index_in(ids.to_arrow(), ids_before.to_arrow()), -1).to_numpy(zero_copy_only=False)
    columns = (np.append(np.asarray(column), np.int8(-1))[at] for column in (published, candidate))
    return LastNight(*columns)


def _logs(recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats) -> Vector:
    """(n, 3) logs; net spend below zero (returns of older orders) counts as nothing."""
    columns = np.column_stack([recency_days, frequency, monetary]).astype(np.float64)
    logs: Vector = np.log(np.maximum(columns, 0.0) + np.array([RECENT_DAYS, 1.0, 1.0]))
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


def _fit(logs: Vector, k: int, seed: int, previous: Segments | None = None) -> Segments:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    mean, spread = logs.mean(axis=0), logs.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    scaled = _scaled(logs, mean, scale)
    few = _thinned(scaled, _START_ROWS)
    distinct = 1 + int(np.any(few[1:] != few[:-1], axis=1).sum())
    start = KMeans(n_clusters=min(k, distinct), n_init=_STARTS, random_state=seed)
    warm = None
    if previous is not None and len(previous.centroids) == min(k, distinct):
        warm = _moved(previous, mean, scale)
    with threadpool_limits(1):  # sums of several threads differ in the last digits from night to night
        centroids = start.fit(few).cluster_centers_ if warm is None else warm
        if warm is not None or len(few) < len(scaled):
            centroids = KMeans(len(centroids), init=centroids, n_init=1).fit(scaled).cluster_centers_
    centroids = centroids.astype(np.float64)
    bare = Segments(mean, scale, centroids, np.zeros_like(centroids), ("",) * len(centroids), 0.0)
    members, squares = _nearest(bare, logs)
    ranks = _mean_of(percentiles(logs * HIGH_IS_GOOD), members, len(centroids))
    orders = np.expm1(centroids[:, 1] * scale[1] + mean[1])
    labels = tuple(segment_name(r, f, m, n) for (r, f, m), n in zip(ranks, orders, strict=True))
    return replace(bare, percentiles=ranks, labels=labels, inertia=float(squares.mean()))


def _mean_of(values: Vector, groups: Ints, n: int) -> Vector:
    """(n, 3) column means per group; a centroid no customer is nearest to stands in the middle."""
    counts = np.bincount(groups, minlength=n)
    sums = np.column_stack([np.bincount(groups, weights=column, minlength=n) for column in values.T])
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], 0.5)


def percentiles(columns: Vector) -> Vector:
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
    old = _moved(previous, fitted.mean, fitted.scale)
    gaps = fitted.centroids[:, None, :] - old[None, :, :]
    rows, places = linear_sum_assignment((gaps**2).sum(axis=2))
    target = np.full(len(fitted.centroids), len(old))
    target[rows] = places
    return np.lexsort((np.arange(len(target)), target))


def _keeping_names(aligned: Segments, previous: Segments) -> Segments:
    """A cluster on the edge of a rule keeps the name it had."""
    orders = np.expm1(aligned.centroids[:, 1] * aligned.scale[1] + aligned.mean[1])
    middles = zip(aligned.percentiles.tolist(), orders.tolist(), previous.labels, strict=False)
    kept = tuple(kept_name(r, f, m, n, before) for (r, f, m), n, before in middles)
    return replace(aligned, labels=kept + aligned.labels[len(kept) :])


def _moved(previous: Segments, mean: Vector, scale: Vector) -> Vector:
    """The centroids of another fit on the scale of this one."""
    return ((previous.centroids * previous.scale + previous.mean) - mean) / scale


def _ordered(fitted: Segments, order: Ints) -> Segments:
    return replace(
        fitted,
        centroids=fitted.centroids[order],
        percentiles=fitted.percentiles[order],
        labels=tuple(fitted.labels[row] for row in order),
    )
