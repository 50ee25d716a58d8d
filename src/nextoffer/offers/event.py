"""Event: a birthday, the anniversary of the first order, points about to be lost.

An occasion is spoken of from `event_days` before it to the day itself, so that a weekly mail meets each; never
after it. Whoever was born on 29 February has a birthday on the 28th of common years. That an event is made once a
year is a rule of the choice, not of this file.
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, KindSettings, proposals

EPOCH = date(1970, 1, 1)
MIN_DAYS_SINCE = 300  # an anniversary is of another year's order, also when the window reaches into January


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """What the customer would most likely buy, for the first occasion there is: birthday, points, anniversary."""
    birthday, points, anniversary = occasions(batch.rows, bundle, when)
    points &= ~birthday
    anniversary &= ~birthday & ~points
    at = batch.scored.position
    return Candidates.concat(
        [
            proposals(batch, bundle, "event", "birthday", birthday[at]),
            proposals(batch, bundle, "event", "points-expire", points[at]),
            proposals(batch, bundle, "event", "anniversary", anniversary[at]),
        ]
    )


def occasions(rows: Ints, bundle: Bundle, when: KindSettings) -> tuple[Bools, Bools, Bools]:
    """(n,) whose birthday, loss of points and anniversary are near."""
    days, today = bundle.diary.calendar, (when.today - EPOCH).days
    birthday = comes_up(days.of("birth_month", rows), days.of("birth_day", rows), when.today, when.event_days)
    ends = days.of("points_expire_day", rows)
    points = (days.of("points_balance", rows) > 0) & (ends >= today) & (ends <= today + when.points_days)
    first = days.of("first_order_day", rows).astype("M8[D]")
    month = first.astype("M8[M]")
    near = comes_up(
        month.astype(np.int64) % 12 + 1,
        (first - month.astype("M8[D]")).astype(np.int64) + 1,
        when.today,
        when.event_days,
    )
    known = first.astype(np.int64) > 0
    return birthday, points, near & known & (first.astype(np.int64) <= today - MIN_DAYS_SINCE)


def comes_up(month: Ints, day: Ints, today: date, days: int) -> Bools:
    """(n,) whether a day of the year is one of `today` … `today + days`; 29 February is the 28th of common years.

    >>> comes_up(np.array([2, 12]), np.array([29, 31]), date(2026, 2, 27), 1).tolist()
    [True, False]
    """
    dates = [today + timedelta(days=after) for after in range(days + 1)]
    wanted = {(one.month, one.day) for one in dates}
    wanted |= {(2, 29) for one in dates if (one.month, one.day) == (2, 28) and not calendar.isleap(one.year)}
    return np.isin(month.astype(np.int64) * 32 + day, [32 * one[0] + one[1] for one in wanted])
