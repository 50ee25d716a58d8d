"""Many effects at once: by segment, by kind. Of those called a win or a loss, one in twenty may be false.

Twenty segments at 5 % each show one effect on average where there is none. The false discovery rate limits the
share of false ones among the called, and the intervals of the called are widened to match.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nextoffer.measurement.compare import Compared
from nextoffer.measurement.effect import ALPHA, Effect

LEVEL = 2 * ALPHA


def family(compared: Sequence[Compared], level: float = LEVEL) -> tuple[Effect, ...]:
    """The effects of a family, in its order, each with its `q`; called only where q ≤ `level`.

    Those with too few buyers were not tested and are not counted. Where R of m are called, every interval is of
    1 − level · R / m (of 1 − level / m where none is), so that it excludes 0 exactly when its effect is called,
    and of the called ones' intervals at most `level` miss.

    References
    ----------
    Benjamini & Hochberg (1995), Controlling the false discovery rate, JRSS B 57; Benjamini & Yekutieli (2005),
    False discovery rate-adjusted multiple confidence intervals for selected parameters, JASA 100.
    """
    from scipy.stats import false_discovery_control

    tested = [one.p for one in compared if one.p is not None]
    if not tested:
        return tuple(one.effect(level / 2) for one in compared)
    q_values = iter(np.asarray(false_discovery_control(tested)).tolist())
    by_place = [next(q_values) if one.p is not None else None for one in compared]
    n_called = sum(q is not None and q <= level * (1 + 1e-12) for q in by_place)
    alpha = level / 2 * max(1, n_called) / len(tested)
    return tuple(one.effect(alpha, q) for one, q in zip(compared, by_place, strict=True))
