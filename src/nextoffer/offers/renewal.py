"""Renewal: a subscription or pass that ends soon or has just ended, does not renew itself and was not renewed.

p_buy is the share of the shop's own passes that were renewed within the horizon, of those that had come as far
unrenewed; shrunk towards USUAL, a guess, by as much as ENOUGH passes weigh. Of a pass whose successor begins where it
ends nobody knows when it was renewed: some day of its last AHEAD_DAYS, none likelier than another.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.offers import Candidates
from nextoffer.features.diary import Passes
from nextoffer.offers.batch import Batch, KindSettings, best_few

EPOCH = date(1970, 1, 1)
GRACE_DAYS = 7  # a pass that ended no longer ago can still be renewed
AHEAD_DAYS = 21
USUAL, ENOUGH = 0.5, 10.0


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Passes that end within `renewal_days` (half their length, if that is less), or ended a week ago at most."""
    passes, today = bundle.diary.passes, (when.today - EPOCH).days
    position, at = passes.of(batch.rows)
    left = passes.ends_day[at] - today
    lead = np.minimum(when.renewal_days, (passes.ends_day[at] - passes.started_day[at]) // 2)
    open_ = ~passes.auto_renew[at] & (passes.renewed_day[at] == 0) & (passes.product[at] >= 0)
    ends_now = np.flatnonzero(open_ & (left <= lead) & (left >= -GRACE_DAYS))
    due = _last_of_each(position[ends_now], passes.product[at[ends_now]], ends_now)
    position, product = position[due], passes.product[at[due]]
    p_buy = p_renewed(passes, today, -left[due], bundle.knowledge.horizon_days)
    return best_few(bundle, "renewal", "renewal", position, product, p_buy, product)


def p_renewed(passes: Passes, today: int, days_over: Ints, horizon_days: int) -> Floats:
    """(n,) chance of a renewal within the horizon of passes unrenewed `days_over` days after their last day."""
    judged = ~passes.auto_renew & (passes.ends_day <= today - GRACE_DAYS - horizon_days)
    after = np.where(passes.renewed_day > 0, passes.renewed_day - passes.ends_day, np.inf)[judged]
    ahead = np.flatnonzero((after >= 0) & (after <= 1))
    after[ahead] = -AHEAD_DAYS * (np.arange(len(ahead)) + 0.5) / max(len(ahead), 1)
    after = np.sort(after)
    before, until = (np.searchsorted(after, days_over + days, "right") for days in (0, horizon_days))
    return np.asarray((until - before + ENOUGH * USUAL) / (len(after) - before + ENOUGH))


def _last_of_each(position: Ints, product: Ints, due: Ints) -> Ints:
    """Of several passes of a customer for one product, that which ends last (they are sorted by it)."""
    pairs = np.stack([position, product], axis=1)[::-1]
    _, last = np.unique(pairs, axis=0, return_index=True)
    return np.sort(due[::-1][last])
