"""Who will buy again, when to worry, and what a customer is worth: purchase rate, lapse and order value.

The purchase law is BG/NBD or MBG/NBD, whichever makes the data likelier; NBD where they show no dropout; a
pooled rate where there is hardly any data. Its unit of purchase is the day with an order, its unit of time the week.

References
----------
Fader, Hardie & Lee (2005), Marketing Science 24(2), and their notes "Computing P(alive) Using the BG/NBD
Model" (2008). Euler's transformation: NIST Digital Library of Mathematical Functions, 15.8.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, hyp2f1

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.models.bgnbd import BGNBD, fit_bgnbd, fit_mbgnbd, fit_nbd
from nextoffer.models.order_value import expected_order_value, fit_order_value

Vector = npt.NDArray[np.float64]
DAYS_PER_WEEK = 7.0
VALUE_DAYS = 365
LAPSE_DAYS = 180
MIN_REPEAT_BUYERS = 10  # fewer cannot show how purchase rates differ
# Dropout must raise twice the log-likelihood by this much: the 5 % point of chi-square with 2 degrees of
# freedom, strict because "nobody drops out" lies on the edge of what BG/NBD can say.
DROPOUT_EVIDENCE = 5.99
POOLED_SHAPE, POOLED_WEEKS = 1.0, 52.0  # prior of the pooled rate: one repeat purchase a year


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What was learned about coming back and spending; `alpha` in weeks, `value_mean` in currency.

    law : "bgnbd", "mbgnbd"; "nbd" (dropout not identified); "pooled" (too few repeat buyers: one shrunken rate for all)
    value_law : "gamma-gamma"; "shrunken-mean"; "none" (no order of positive value)
    """

    law: str
    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    value_law: str
    value_mean: float
    value_strength: float
    n_customers: int


@dataclass(frozen=True, slots=True)
class CustomerScores:
    """One row per customer, float32.

    p_buy : buys within the horizon asked for; p_buy_90 within 90 days
    p_lapsed : buys nothing within 180 days (never 1 - P(alive), which calls one-time buyers alive)
    expected_value : expected revenue of the next 365 days, currency
    """

    p_buy: npt.NDArray[np.float32]
    p_buy_90: npt.NDArray[np.float32]
    p_lapsed: npt.NDArray[np.float32]
    expected_value: npt.NDArray[np.float32]


def fit_lifetime(
    n_order_days: Ints, recency_days: Ints, first_age_days: Ints, mean_order_value: Floats
) -> Lifetime:
    """Learn purchase rate, dropout and order value from every customer's summary. Never fails on small data.

    Parameters
    ----------
    n_order_days : (n,) distinct days with an order, >= 1; rows with 0 are left out
    recency_days, first_age_days : (n,) age of the last and of the first order
    mean_order_value : (n,) mean revenue of an order, currency; only positive values teach
    """
    n_order_days, mean_order_value = np.asarray(n_order_days), np.asarray(mean_order_value)
    known = n_order_days > 0
    x, recency, age = _history(n_order_days[known], recency_days[known], first_age_days[known])
    law, fitted = _fit_law(x, recency, age)
    value = fit_order_value(n_order_days[known], mean_order_value[known])
    return Lifetime(
        law=law,
        r=fitted.r,
        alpha=fitted.alpha / DAYS_PER_WEEK,
        a=fitted.a,
        b=fitted.b,
        log_likelihood=fitted.log_likelihood,
        value_law=value.law,
        value_mean=value.mean,
        value_strength=value.strength,
        n_customers=len(x),
    )


def _history(n_order_days: Ints, recency_days: Ints, first_age_days: Ints) -> tuple[Ints, Ints, Ints]:
    """(x, t_x, T) in days; an impossible age (last order before the first) becomes the nearest possible."""
    x = np.maximum(np.asarray(n_order_days, dtype=np.int64) - 1, 0)
    age = np.maximum(np.asarray(first_age_days, dtype=np.int64), 0)
    recency = np.clip(age - np.asarray(recency_days, dtype=np.int64), 0, age)
    return x, np.where(x > 0, recency, 0), age


def _fit_law(x: Ints, recency: Ints, age: Ints) -> tuple[str, BGNBD]:
    """The richest law the data support, time in days."""
    if np.count_nonzero((x > 0) & (age > 0)) < MIN_REPEAT_BUYERS:
        weeks = float(age.sum()) / DAYS_PER_WEEK + POOLED_WEEKS
        rate = (float(x.sum()) + 1.0) / weeks
        return "pooled", BGNBD(POOLED_SHAPE, POOLED_SHAPE / rate * DAYS_PER_WEEK, 0.0, 1.0, 0.0, len(x))
    without = fit_nbd(x, recency, age)
    richer = {"bgnbd": fit_bgnbd(x, recency, age), "mbgnbd": fit_mbgnbd(x, recency, age)}
    law, dropout = max(richer.items(), key=lambda item: item[1].log_likelihood)
    if 2.0 * (dropout.log_likelihood - without.log_likelihood) < DROPOUT_EVIDENCE:
        return "nbd", without
    return law, dropout


def p_alive(lifetime: Lifetime, x: Ints, t_x: Floats, T: Floats) -> Vector:
    """Probability that a customer has not dropped out, (n,). Not a lapse score: under BG/NBD one-time buyers get 1.

    x : (n,) repeat purchases; t_x, T : (n,) weeks from first purchase to last and to now
    """
    x = np.asarray(x, dtype=np.float64)
    if lifetime.a == 0.0:
        return np.ones(np.broadcast(x, T).shape)
    ratio = np.log(lifetime.alpha + np.asarray(T)) - np.log(lifetime.alpha + np.asarray(t_x))
    stops = x + _entry(lifetime)  # purchases after which they might have dropped out
    odds = (
        np.log(lifetime.a) - np.log(np.maximum(lifetime.b + stops - 1.0, 1e-300)) + (lifetime.r + x) * ratio
    )
    alive: Vector = np.where(stops > 0, expit(-odds), 1.0)
    return alive


def _entry(lifetime: Lifetime) -> int:
    """1 where the first purchase may be the last as any other."""
    return int(lifetime.law == "mbgnbd")


def p_buy(lifetime: Lifetime, x: Ints, t_x: Floats, T: Floats, horizon: float) -> Vector:
    """Probability of at least one purchase within `horizon` weeks from now, (n,); arguments as `p_alive`.

    P(alive) × [1 − ((α+T)/(α+T+h))^(r+x)]. This is exact under BG/NBD, not an approximation: a customer
    drops out only at a purchase, so who is alive now stays so until the next one, and given alive the rate
    is Gamma(r+x, α+T). How far the law itself fits the shop is for `calibrate` and the backtest to say.
    """
    age = lifetime.alpha + np.asarray(T, dtype=np.float64)
    none_if_alive = (lifetime.r + np.asarray(x)) * np.log1p(horizon / age)
    chance: Vector = p_alive(lifetime, x, t_x, T) * -np.expm1(-none_if_alive)
    return chance


def expected_orders(lifetime: Lifetime, x: Ints, t_x: Floats, T: Floats, horizon: float) -> Vector:
    """Expected number of purchase days within `horizon` weeks from now, (n,); arguments as `p_alive`.

    Fader, Hardie & Lee (2005), equation 10, with its 2F1 rewritten by Euler's transformation:
    P(alive) × (a+b+x−1)/(a−1) × [1 − (1−z)^(a−1) 2F1(a+b−1−r, a−1; a+b+x−1; z)], z = h/(α+T+h), which
    stays exact for frequent buyers, where the published form overflows.
    """
    shape = lifetime.r + np.asarray(x, dtype=np.float64)
    growth = horizon / (lifetime.alpha + np.asarray(T, dtype=np.float64))
    if lifetime.a == 0.0:
        plain: Vector = shape * growth
        return plain
    distinct, code = _distinct_pairs(shape, growth)
    return p_alive(lifetime, x, t_x, T) * _orders_if_alive(lifetime, *distinct)[code]


def _distinct_pairs(first: Vector, second: Vector) -> tuple[tuple[Vector, Vector], npt.NDArray[np.int64]]:
    """Distinct (first, second) and each row's position among them: a special function is dear."""
    left, left_code = np.unique(first, return_inverse=True)
    right, right_code = np.unique(second, return_inverse=True)
    key, code = np.unique(left_code * max(len(right), 1) + right_code, return_inverse=True)
    left_code, right_code = np.divmod(key, max(len(right), 1))
    return (left[left_code], right[right_code]), code


def _orders_if_alive(lifetime: Lifetime, shape: Vector, growth: Vector) -> Vector:
    """Expected purchases of a customer alive now; `shape` = r + x, `growth` = h / (α + T)."""
    a = lifetime.a if abs(lifetime.a - 1.0) > 1e-6 else 1.0 + 1e-6  # the formula is 0/0 at a = 1
    c = a + lifetime.b + _entry(lifetime) + (shape - lifetime.r) - 1.0
    with np.errstate(all="ignore"):
        left = (1.0 + growth) ** (1.0 - a) * hyp2f1(c - shape, a - 1.0, c, growth / (1.0 + growth))
        orders = c / (a - 1.0) * (1.0 - left)
    share = a / (c + 1.0)  # mean dropout; so large an a overflows only where its spread is negligible
    orders = np.where(np.isfinite(orders), orders, -np.expm1(-shape * np.log1p(share * growth)) / share)
    bounded: Vector = np.clip(orders, 0.0, shape * growth)
    return bounded


def buys_within(
    lifetime: Lifetime, n_order_days: Ints, recency_days: Ints, first_age_days: Ints, days: float
) -> Vector:
    """(n,) chance of an order within `days`, before calibration; arguments as `score_customers`."""
    x, recency, age = _history(n_order_days, recency_days, first_age_days)
    return p_buy(lifetime, x, recency / DAYS_PER_WEEK, age / DAYS_PER_WEEK, days / DAYS_PER_WEEK)


def expected_revenue(
    lifetime: Lifetime,
    n_order_days: Ints,
    recency_days: Ints,
    first_age_days: Ints,
    total_value: Floats,
    n_orders: Ints,
    days: float,
) -> Vector:
    """(n,) revenue expected within `days`, currency, before calibration; arguments as `score_customers`."""
    x, recency, age = _history(n_order_days, recency_days, first_age_days)
    orders = np.maximum(np.asarray(n_orders, dtype=np.int64), 1)
    own = np.asarray(total_value, dtype=np.float64) / orders
    value = expected_order_value(lifetime.value_mean, lifetime.value_strength, orders, own)
    ahead = expected_orders(lifetime, x, recency / DAYS_PER_WEEK, age / DAYS_PER_WEEK, days / DAYS_PER_WEEK)
    return np.asarray(ahead * value * orders / (x + 1), dtype=np.float64)


def score_customers(
    lifetime: Lifetime,
    n_order_days: Ints,
    recency_days: Ints,
    first_age_days: Ints,
    total_value: Floats,
    n_orders: Ints,
    horizon_days: int,
) -> CustomerScores:
    """Score every customer; each row depends on its own inputs only and is never NaN.

    Parameters
    ----------
    n_order_days, recency_days, first_age_days : (n,) as in `fit_lifetime`
    total_value : (n,) revenue so far, currency
    n_orders : (n,) orders so far; orders a day = n_orders / n_order_days
    horizon_days : days ahead for `p_buy`
    """
    ages = (n_order_days, recency_days, first_age_days)

    def within(days: float) -> npt.NDArray[np.float32]:
        return buys_within(lifetime, *ages, days).astype(np.float32)

    return CustomerScores(
        p_buy=within(horizon_days),
        p_buy_90=within(90),
        p_lapsed=np.float32(1.0) - within(LAPSE_DAYS),
        expected_value=expected_revenue(lifetime, *ages, total_value, n_orders, VALUE_DAYS).astype(
            np.float32
        ),
    )
