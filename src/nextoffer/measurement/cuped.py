"""Spend explained by what a customer spent before: CUPED with one theta for both groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats
from nextoffer.measurement.draws import FLAT


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """Values less what `before` tells about them.

    Parameters
    ----------
    values : (K,) value − theta × before, not centred: the difference of two means needs no centre
    theta : slope over all customers of both groups, those without a value or a past included
    variance_cut : share of the variance of one value that the past explains
    """

    values: Floats
    theta: float
    variance_cut: float


def adjust(values: Floats, before: Floats, n: int) -> Adjusted | None:
    """`values` adjusted for `before`; None where the past tells nothing (it or the values never vary).

    Parameters
    ----------
    values, before : (K,) of the customers with either other than 0
    n : all customers of both groups

    References
    ----------
    Deng, Xu, Kohavi & Walker (2013), Improving the sensitivity of online controlled experiments by
    utilizing pre-experiment data, WSDM.
    """
    moments = [
        np.einsum("k,k->", a, b) / n for a, b in ((values, values), (before, before), (values, before))
    ]
    means = values.sum() / n, before.sum() / n
    var_y, var_x = moments[0] - means[0] ** 2, moments[1] - means[1] ** 2
    covariance = moments[2] - means[0] * means[1]
    flat = var_x <= FLAT * moments[1] or var_y <= FLAT * moments[0]
    if flat or abs(covariance) <= FLAT * np.sqrt(moments[0] * moments[1]):
        return None
    theta = covariance / var_x
    explained = theta * before
    rest = values - explained
    rest[np.abs(rest) <= FLAT * (np.abs(values) + np.abs(explained))] = 0.0
    return Adjusted(rest, float(theta), float(min(1.0, covariance**2 / (var_x * var_y))))
