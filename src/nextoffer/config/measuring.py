"""How the proof is read: windows, what the loyalty programmes are, what they cost and are meant to reach."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from nextoffer.config.base import Kind, Money, NotNegative, Positive, Section


class Measuring(Section):
    """Windows and thresholds of reports.

    `window_days` by kind: how long after being assigned an order counts in an experiment, and how long after an
    opened offer it is attributed. `before_days`: the past spend that steadies a comparison; 0 = none.
    """

    window_days: dict[Kind, Positive] = {}
    before_days: NotNegative = 91
    permutations: Annotated[int, Field(ge=199, le=99_999)] = 9_999
    looks: Positive = 1
    reward_high: Money = Decimal(20_000)
    reward_medium: Money = Decimal(10_000)


class Programme(Section):
    """What the loyalty programme costs and is meant to reach; `point_value` is what one point buys, in currency.

    `targets`: a figure for each KPI, and one for each KPI of a segment in a table with the segment's name.
    """

    costs: Annotated[float, Field(ge=0)] = 0.0
    targets: dict[str, float | dict[str, float]] = {}
    point_value: Money = Decimal("0.01")


class ProgrammeTerms(Section):
    """One loyalty programme as customers know it: shown beside its figures."""

    type: str = ""
    joining: str = ""
    accrual: str = ""
    cost: Money = Decimal(0)
