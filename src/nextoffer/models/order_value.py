"""What one order of a customer is worth: the shop's mean, moved towards the customer's own as orders come in.

Both laws predict (strength × mean + n × own mean) / (strength + n), so two numbers are all that is kept.

References
----------
Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value, equations 1a and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.errors import TooLittleHistoryError

Vector = npt.NDArray[np.float64]
MIN_CUSTOMERS = 30  # fewer customers with two orders cannot show how orders of one customer vary
DEFAULT_STRENGTH = 2.0  # orders the shop's mean counts for where the data do not tell
MAX_STRENGTH = 50.0


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Order values are Gamma(p, ν) with a personal ν ~ Gamma(q, γ); γ in currency."""

    p: float
    q: float
    gamma: float
    log_likelihood: float
    n: int


@dataclass(frozen=True, slots=True)
class OrderValue:
    """`mean` in currency, `strength` in orders; law is "gamma-gamma", "shrunken-mean" or "none"."""

    law: str
    mean: float
    strength: float


def fit_gamma_gamma(n_orders: Ints, mean_value: Floats) -> GammaGamma:
    """The Gamma-Gamma law that makes these mean order values most likely.

    Parameters
    ----------
    n_orders : (n,) orders behind each mean; customers without any are left out
    mean_value : (n,) mean value of those orders, currency; values <= 0 are left out

    Raises
    ------
    TooLittleHistoryError : nobody has an order with a positive value.
    """
    usable = (n_orders > 0) & (mean_value > 0)
    x, z = n_orders[usable].astype(np.float64), mean_value[usable].astype(np.float64)
    if len(x) == 0:
        raise TooLittleHistoryError(
            "no customer has an order of positive value: order values cannot be learned"
        )
    scale = float(z.mean())
    objective = _likelihood(x, x * z / scale)
    found = minimize(
        objective,
        np.log([2.0, 3.0, 1.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-7.0, 7.0)] * 3,
        options={"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500},
    )
    p, q, gamma = (float(value) for value in np.exp(found.x))
    likelihood = -float(found.fun) * len(x) - float(np.log(z).sum())
    return GammaGamma(p, q, gamma * scale, likelihood, len(x))


def _likelihood(x: Vector, total: Vector) -> Callable[[Vector], tuple[float, Vector]]:
    """Minus the mean log-likelihood of log (p, q, γ), per unit of log mean value, and its gradient."""
    counts, code = np.unique(x, return_inverse=True)
    share = np.bincount(code) / len(x)
    x_log_total = float((x * np.log(total)).mean())

    def falling(theta: Vector) -> tuple[float, Vector]:
        p, q, gamma = np.exp(theta)
        log_sum = np.log(gamma + total)
        mean_log, x_mean_log = float(log_sum.mean()), float((x * log_sum).mean())
        at, alone = p * counts + q, p * counts
        value = share @ (gammaln(at) - gammaln(alone)) - gammaln(q) + q * np.log(gamma)
        value += p * (x_log_total - x_mean_log) - q * mean_log
        slope_p = share @ (counts * (digamma(at) - digamma(alone))) + x_log_total - x_mean_log
        slope_q = share @ digamma(at) - digamma(q) + np.log(gamma) - mean_log
        slope_gamma = q / gamma - ((p * x + q) / (gamma + total)).mean()
        return -float(value), -np.array([p * slope_p, q * slope_q, gamma * slope_gamma])

    return falling


def fit_order_value(n_orders: Ints, mean_value: Floats) -> OrderValue:
    """Gamma-Gamma where it can be trusted, else a shrunken mean; nothing to learn from gives a value of 0.

    Gamma-Gamma is refused when q <= 1 (its mean does not exist), or fewer than `MIN_CUSTOMERS` ordered twice.
    """
    n_orders, mean_value = np.asarray(n_orders), np.asarray(mean_value, dtype=np.float64)
    usable = (n_orders > 0) & (mean_value > 0)
    if not usable.any():
        return OrderValue("none", 0.0, DEFAULT_STRENGTH)
    if np.count_nonzero(usable & (n_orders > 1)) >= MIN_CUSTOMERS and np.ptp(mean_value[usable]) > 0:
        law = fit_gamma_gamma(n_orders, mean_value)
        if law.q > 1.0 and (law.q - 1.0) / law.p <= MAX_STRENGTH:
            return OrderValue("gamma-gamma", law.p * law.gamma / (law.q - 1.0), (law.q - 1.0) / law.p)
    mean = float(np.average(mean_value[usable], weights=n_orders[usable]))
    return OrderValue("shrunken-mean", mean, DEFAULT_STRENGTH)


def expected_order_value(mean: float, strength: float, n_orders: Ints, mean_value: Floats) -> Floats:
    """Expected value of a customer's next order, currency, (n,) float64.

    `mean` and `strength` as in `OrderValue`; a negative mean (returns outweigh purchases) counts as 0.
    """
    own = np.maximum(np.nan_to_num(np.asarray(mean_value, dtype=np.float64)), 0.0)
    n: npt.NDArray[Any] = np.maximum(n_orders, 0)
    value: Vector = (strength * mean + n * own) / (strength + n)
    return value


def margin_shares(customer: Ints, revenue: Ints | Floats, share: Floats, n_customers: int) -> Vector:
    """(n_customers,) share of a customer's revenue that is profit, moved towards the shop's as if it were half.

    Expected profit = expected revenue × this.

    Parameters
    ----------
    customer, revenue : (n,) rows of what was bought and kept, revenue in any one unit
    share : (n,) margin share of each row's product, (price − unit cost) ÷ price; NaN where it is not known
    """
    known = np.isfinite(share) & (revenue > 0)
    customer, spent = customer[known], np.asarray(revenue[known], dtype=np.float64)
    total = np.bincount(customer, spent, minlength=n_customers)
    profit = np.bincount(customer, spent * share[known], minlength=n_customers)
    shop = float(profit.sum() / total.sum()) if total.sum() > 0 else 0.0
    usual = float(total[total > 0].mean()) if total.sum() > 0 else 1.0
    mixed: Vector = (profit + shop * usual) / (total + usual)
    return mixed
