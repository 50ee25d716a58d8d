"""The closed loop: a policy sends, the shop lives on, and what it earned stands beside sending nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.simulation.messages import OfferRows
from nextoffer.simulation.shop import Shop, StepRows
from nextoffer.simulation.visible import Visible

RUN_OUT = 12  # weeks without offers at the end: moved orders settle, returned customers go on

Policy: TypeAlias = Callable[[Visible], OfferRows | None]
"""From what is visible at the start of a week to that week's slates (see `Shop.step` for the columns)."""
Oracle: TypeAlias = Callable[[Shop], OfferRows | None]
"""A policy that sees the truth."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """(n,) what policy weeks and run-out earned per customer, expected, in currency units.

    Parameters
    ----------
    profit : margin of orders, less incentives, contacts and returns
    incentive, on_baseline : what incentives cost, and the part on orders that would have come anyway
    messages : messages sent
    sent : (weeks,) messages a week
    """

    profit: Floats
    incentive: Floats
    on_baseline: Floats
    messages: Floats
    sent: Ints


def run(
    shop: Shop,
    policy: Policy | None,
    weeks: int = 8,
    run_out: int = RUN_OUT,
    budget: float | None = None,
    oracle: Oracle | None = None,
) -> Run:
    """Live on with a fork of the shop; the shop itself stays where it is.

    Parameters
    ----------
    policy : None sends nothing; `oracle`, if given, is asked instead
    budget : currency units for incentives; once they are used, offers go out without incentive
    """
    twin = shop.fork()
    lived, spent = [], 0.0
    for _ in range(weeks):
        offers = oracle(twin) if oracle is not None else policy(twin.visible()) if policy else None
        if budget is not None and spent >= budget:
            offers = without_incentives(offers)
        lived.append(twin.step(twin.week, offers))
        spent += float(pc.sum(lived[-1].redemptions["discount"]).as_py() or 0.0)
    lived += twin.run_out(run_out)
    return _sum(lived, weeks)


def without_incentives(offers: OfferRows | None) -> OfferRows | None:
    """The same offers at full price; what was nothing but an incentive is not sent."""
    if offers is None:
        return None
    table = offers if isinstance(offers, pa.Table) else pa.table(dict(offers))
    if "level" not in table.column_names:
        return table
    level = pa.array(np.zeros(table.num_rows))
    return table.set_column(table.column_names.index("level"), "level", level)


def _sum(lived: list[StepRows], weeks: int) -> Run:
    expected = [rows.expected for rows in lived if rows.expected is not None]
    contact = np.sum([week.contact for week in expected], axis=0)
    return Run(
        profit=np.sum([week.profit for week in expected], axis=0),
        incentive=np.sum([week.incentive for week in expected], axis=0),
        on_baseline=np.sum([week.on_baseline for week in expected], axis=0),
        messages=np.rint(contact * 100),
        sent=np.array([np.count_nonzero(week.contact) for week in expected[:weeks]]),
    )


def paired(policy: Run, nothing: Run) -> tuple[float, float]:
    """Incremental profit per 1,000 customers, and half the width of its 95 % interval."""
    more = policy.profit - nothing.profit
    half = 1.96 * more.std(ddof=1) / np.sqrt(len(more))
    return float(more.mean() * 1_000), float(half * 1_000)
