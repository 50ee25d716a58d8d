"""Two people of one household: with `interference`, whoever of them read an offer lately buys for both.

What each needs, and when, stays as it is; only the account an order is placed with changes. So offers to one of
the two move orders away from the other, and an experiment that splits households takes what was moved for a gain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Ints

if TYPE_CHECKING:
    from nextoffer.simulation.customers import Customers
    from nextoffer.simulation.life import State

LATELY = 0.25  # fatigue above which an offer is remembered: four weeks after one was opened


def households(numbers: Ints) -> Ints:
    """The household of each customer: an even number and the next keep house together."""
    return numbers // 2


def buyers_for(customers: Customers, state: State, rows: Ints, joining: Bools) -> Ints:
    """Whose account the orders of some customers are placed with: their own, or their partner's.

    Parameters
    ----------
    state : after the week's messages
    rows : (b,) who needs something; `joining` (b,) it is their first order, which is always their own

    Returns
    -------
    (b,) rows
    """
    first = int(customers.customer[0])
    partner = (customers.customer[rows] ^ 1) - first
    partner = np.where((partner >= 0) & (partner < len(customers.customer)), partner, rows)
    fatigue = state.fatigue
    theirs = (fatigue[partner] > np.maximum(fatigue[rows], LATELY)) & ~joining
    return np.where(theirs, partner, rows)
