"""Which already-bought products a customer will buy again soon: a purchase rate per customer × product.

Repeat purchases of a pair come at a constant rate λ ~ Gamma(shape, shape / rate of the product): pairs with
little history follow their product, products with little history follow the shop. *Whether* a product is
bought again can be predicted, the date hardly: so there is a probability and a window, never a date.

References
----------
Gelman et al. (2013), Bayesian Data Analysis, 2.6 (Gamma-Poisson, predictive law) and 5.1 (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from nextoffer.domain.arrays import Floats, Ints

Vector = npt.NDArray[np.float64]
SHAPE_BOUNDS = (0.05, 50.0)  # how alike customers of one product may be found to be
STRENGTH_BOUNDS = (0.1, 1000.0)  # repeat purchases the shop's rate may count for in a product's rate
DEFAULT_SHAPE, DEFAULT_STRENGTH = 0.5, 1.0  # where the data do not tell; near what real shops show
MIN_REPEATS = 20  # fewer repeat purchases in the whole shop do not tell
WINDOW_DAYS = 365.0  # no window reaches further
PRIOR_GAP_DAYS = 365.0  # one repeat a year, counted as one purchase, so that no rate is ever 0


@dataclass(frozen=True, slots=True)
class Reorder:
    """Repeat purchases per day of each product, and how much pairs and products differ.

    Parameters
    ----------
    rate : (n_products,) expected repeat purchases per day of a customer who has bought the product
    shop_rate : the same for the whole shop
    shape : of a pair's rate around its product's; smaller = customers differ more
    strength : repeat purchases the shop's rate counted for in `rate`
    n_pairs : pairs it was learned from
    """

    rate: Vector
    shop_rate: float
    shape: float
    strength: float
    n_pairs: int


def fit_reorder(
    product: Ints, n_days: Ints, first_age_days: Ints, last_age_days: Ints, n_products: int
) -> Reorder:
    """Learn repeat rates from every (customer, product) pair bought; empty and tiny input are fine.

    Parameters
    ----------
    product : (n,) product row, 0 … n_products - 1
    n_days : (n,) distinct days on which the pair was bought, >= 1
    first_age_days, last_age_days : (n,) age of the first and the last of them; the last only tells in
        `due_window`: a curve of the time since then, learned at earlier cut-offs, did not better p
    """
    del last_age_days
    repeats, days = _exposure(n_days, first_age_days)
    per_product = np.bincount(product, repeats, n_products).astype(np.float64)
    exposure = np.bincount(product, days, n_products).astype(np.float64)
    shop_rate = (float(repeats.sum()) + 1.0) / (float(days.sum()) + PRIOR_GAP_DAYS)
    if repeats.sum() < MIN_REPEATS:
        strength, shape = DEFAULT_STRENGTH, DEFAULT_SHAPE
        rate = (per_product + strength) / (exposure + strength / shop_rate)
        return Reorder(rate, shop_rate, shape, strength, len(product))
    strength = _fit_shape(per_product, exposure * shop_rate, STRENGTH_BOUNDS)
    rate = (per_product + strength) / (exposure + strength / shop_rate)
    shape = _fit_shape(repeats, days * rate[product], SHAPE_BOUNDS)
    return Reorder(rate, shop_rate, shape, strength, len(product))


def p_reorder(
    reorder: Reorder,
    product: Ints,
    n_days: Ints,
    first_age_days: Ints,
    last_age_days: Ints,
    horizon_days: float,
) -> npt.NDArray[np.float32]:
    """Probability that the pair is bought again within `horizon_days`, (n,) float32 in [0, 1].

    1 − ((β+T)/(β+T+h))^(α+n), n repeat purchases in T days, prior Gamma(α = shape, β = shape / rate).
    """
    del last_age_days
    shape, days = wait_law(reorder, product, n_days, first_age_days)
    chance: npt.NDArray[np.float32] = -np.expm1(-shape * np.log1p(horizon_days / days))
    return chance.astype(np.float32)


def expected_gap_days(
    reorder: Reorder,
    product: Ints,
    n_days: Ints,
    first_age_days: Ints,
    last_age_days: Ints,
    supply_days: Floats | None = None,
) -> Vector:
    """Days between two purchases of the pair at its expected rate, (n,) float64.

    supply_days : (n,) how long what was bought last lasts (shelf life × quantity); overrides where not NaN
    """
    del last_age_days
    shape, days = wait_law(reorder, product, n_days, first_age_days)
    gap: Vector = days / shape
    return gap if supply_days is None else np.where(np.isnan(supply_days), gap, supply_days)


def due_window(
    reorder: Reorder,
    product: Ints,
    n_days: Ints,
    first_age_days: Ints,
    last_age_days: Ints,
    supply_days: Floats | None = None,
    share: float = 0.5,
) -> tuple[Vector, Vector, Vector]:
    """(from_days, until_days, probability) of the pair's next purchase, see `window_of`."""
    law = wait_law(reorder, product, n_days, first_age_days)
    return window_of(*law, last_age_days, supply_days, share)


def window_of(
    shape: Vector, scale: Vector, last_age_days: Ints, supply_days: Floats | None, share: float
) -> tuple[Vector, Vector, Vector]:
    """(from_days, until_days, probability), counted from now, where the wait is Lomax(shape, scale).

    That is the Gamma-mixed exponential law. The window is its middle `share`, cut at WINDOW_DAYS; where
    `supply_days` says how long the last purchase lasts, it is the quarter of that time before and after it runs
    out, not before now. `probability` is that of the next purchase falling into the window as it stands.
    """
    low, high = (1.0 - share) / 2.0, (1.0 + share) / 2.0
    start, end = (scale * np.expm1(-np.log1p(-q) / shape) for q in (low, high))
    if supply_days is not None:
        left, known = supply_days - last_age_days, ~np.isnan(supply_days)
        start = np.where(known, np.maximum(left - supply_days / 4.0, 0.0), start)
        end = np.where(known, np.maximum(left + supply_days / 4.0, supply_days / 4.0), end)
    start, end = np.minimum(start, WINDOW_DAYS), np.minimum(end, WINDOW_DAYS)
    before, after = (np.exp(-shape * np.log1p(days / scale)) for days in (start, end))
    return start, end, before - after


def _exposure(n_days: Ints, first_age_days: Ints) -> tuple[Vector, Vector]:
    """Repeat purchases of each pair, and the days in which they could happen."""
    repeats = np.maximum(np.asarray(n_days, dtype=np.float64) - 1.0, 0.0)
    return repeats, np.maximum(np.asarray(first_age_days, dtype=np.float64), 0.0)


def wait_law(reorder: Reorder, product: Ints, n_days: Ints, first_age_days: Ints) -> tuple[Vector, Vector]:
    """Shape α+n and days β+T of the Gamma law of each pair's rate: the wait is Lomax of this shape and scale."""
    repeats, days = _exposure(n_days, first_age_days)
    return reorder.shape + repeats, reorder.shape / reorder.rate[product] + days


def _fit_shape(counts: Vector, expected: Vector, bounds: tuple[float, float]) -> float:
    """Shape of the Gamma factor, mean 1, that makes Poisson counts around `expected` most likely."""
    seen = expected > 0
    values, n_values = np.unique(counts[seen], return_counts=True)
    expected, total = expected[seen], counts[seen]

    def falling(log_shape: float) -> float:
        shape = np.exp(log_shape)
        gammas = n_values @ (gammaln(shape + values) - gammaln(shape))
        return -float(gammas - (shape * np.log1p(expected / shape)).sum() - total @ np.log(shape + expected))

    low, high = np.log(bounds)
    found = minimize_scalar(falling, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
