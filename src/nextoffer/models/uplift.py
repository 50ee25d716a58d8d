"""What experiments measured, weighed against what was believed: little data moves the belief a little."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Floats


def shrunken(ratio: Floats, error: Floats, sd: Floats | float) -> Floats:
    """Measured effects as multiples of the prior's, shrunk towards 1.

    A normal prior around 1, as wide as the log-normal of the configured `sd`, and a normal measurement:
    (1 / τ² + ratio / error²) / (1 / τ² + 1 / error²) with τ² = exp(sd²) − 1, and never below 0: what was measured to
    do harm is believed to do nothing.

    Parameters
    ----------
    ratio : (…) measured effect ÷ the prior's; of any value where `error` is infinite (nothing was measured)
    error : (…) its standard error, > 0
    sd : the prior's uncertainty on the log scale (config/priors.py)

    References
    ----------
    Efron & Morris (1973), Stein's estimation rule and its competitors, section 2.

    >>> shrunken(np.array([3.0, 3.0, 3.0]), np.array([np.inf, 1.0, 0.01]), 0.7).round(2).tolist()
    [1.0, 1.77, 3.0]
    """
    wide = np.expm1(np.square(sd))
    weight = wide / (wide + np.square(error))
    return np.maximum(np.where(weight > 0, 1.0 + weight * (np.where(weight > 0, ratio, 1.0) - 1.0), 1.0), 0.0)
