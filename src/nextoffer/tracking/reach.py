"""Whom campaigns have reached: messages of one campaign, and event offers of all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Select, func, or_, select

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.tracking import database, queries
from nextoffer.tracking.counts import Written
from nextoffer.tracking.schema import decisions, to_micros

ONE_OCCASION = timedelta(days=30)  # a birthday and the week before it, or points until they are lost
YEAR = timedelta(days=340)  # less than the time from one birthday's last day to the next one's first
# as orjson writes offers; points may expire more often than once a year
_EVENT = '%"kind":"event"%'
_OCCASIONS = tuple(f'%"code":"{code}"%' for code in ("birthday", "anniversary", "hand-picked"))


def messages_of(ledger: Written, campaign: str, unit_ids: Sequence[str], except_run_on: date) -> Ints:
    """How many messages of a campaign each unit was sent, or would have been if held out, in other runs than one.

    The held-out count alike, so that both groups are decided on under the same rule.

    Returns
    -------
    (n,) int64, in the order of `unit_ids`
    """
    runs = func.count(queries.run_of(decisions).distinct())
    query = select(decisions.c.unit_id, runs).where(
        decisions.c.campaign == campaign,
        or_(decisions.c.run_on.is_(None), decisions.c.run_on != except_run_on.isoformat()),
        decisions.c.slate != "[]",
    )
    return _counts(ledger, query.group_by(decisions.c.unit_id), unit_ids)


def event_made(
    ledger: Written,
    unit_ids: Sequence[str],
    now: datetime,
    message: bool,
    except_run: tuple[str, date] | None = None,
) -> Bools:
    """Which units were made an event offer earlier this year, or would have been if held out, so that another is
    one too many.

    The same occasion may be spoken of for as long as it lasts: what was shown within ONE_OCCASION is that. But only
    one `message` is sent about it.

    Returns
    -------
    (n,) bool, in the order of `unit_ids`
    """
    earlier = decisions.c.at < to_micros(now - ONE_OCCASION)
    if message:
        earlier = or_(earlier, decisions.c.campaign.is_not(None))
    query = select(decisions.c.unit_id, func.count(1)).where(
        decisions.c.at >= to_micros(now - YEAR),
        earlier,
        decisions.c.slate.like(_EVENT),
        or_(*map(decisions.c.slate.like, _OCCASIONS)),
    )
    if except_run is not None:
        campaign, run_on = except_run
        other = or_(
            decisions.c.campaign.is_distinct_from(campaign),
            decisions.c.run_on.is_distinct_from(run_on.isoformat()),
        )
        query = query.where(other)
    return _counts(ledger, query.group_by(decisions.c.unit_id), unit_ids) > 0


def _counts(ledger: Written, query: Select[Any], unit_ids: Sequence[str]) -> Ints:
    rows: list[tuple[str, int, int]] = []
    with database.reading(ledger.engine) as connection:
        for wanted in queries.narrowed(query, decisions.c.unit_id, unit_ids):
            rows += [(unit, count, count) for unit, count in connection.execute(wanted)]
    return np.asarray(queries.aligned(unit_ids, rows)[0], dtype=np.int64)
