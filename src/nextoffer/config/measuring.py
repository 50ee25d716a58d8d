"""How the proof is read: windows, what the loyalty programmes are, what they cost and are meant to reach."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, get_args

from pydantic import Field, field_validator

from nextoffer.config.base import Kind, Money, NotNegative, Positive, Section, Segment, nearest

# What a target may be set for; each is defined in measurement/kpi/registry.py and explained in docs/kpis.md.
KPI_NAMES = (
    "customers",
    "members",
    "participation",
    "joined",
    "buyers",
    "conversion",
    "orders",
    "revenue",
    "margin",
    "average_order",
    "frequency",
    "revenue_per_customer",
    "margin_per_customer",
    "repeat_orders",
    "repeat_share",
    "retention",
    "churn",
    "new_customers",
    "invited",
    "referrers",
    "lifetime_profit",
    "lifetime_revenue",
    "relationship_days",
    "points_orders",
    "points_value",
    "promo_orders",
    "reviews",
    "rating",
    "nps",
    "csi",
    "programme_cost",
    "roi_attributed",
    "roi_incremental",
)
_OF_THE_SHOP = ("programme_cost", "roi_attributed", "roi_incremental")  # not known for one segment


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


Figure = Annotated[float, Field(allow_inf_nan=False)]


class Programme(Section):
    """What the loyalty programme costs and is meant to reach; `point_value` is what one point buys, in currency.

    `targets`: a figure for each KPI, and one for each KPI of a segment in a table with the segment's name; shares
    and ROI as fractions, money in currency. `csi_weights`: how many times an answer about an aspect counts.
    """

    costs: Annotated[float, Field(ge=0)] = 0.0
    targets: dict[str, Figure | dict[str, Figure]] = {}
    point_value: Money = Decimal("0.01")
    csi_weights: dict[str, Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]] = {}

    @field_validator("targets")
    @classmethod
    def _known_figures(
        cls, targets: dict[str, float | dict[str, float]]
    ) -> dict[str, float | dict[str, float]]:
        segments = get_args(Segment)
        for name, target in targets.items():
            if isinstance(target, dict):
                if name not in segments:
                    raise ValueError(f"{name!r} is no segment{nearest(name, segments)}")
                for figure in target:
                    _known_kpi(figure, name)
            elif name in segments:
                raise ValueError(
                    f"{name!r} is a segment: write its targets as a table, as in {name} = {{ nps = 40 }}"
                )
            else:
                _known_kpi(name)
        return targets


class ProgrammeTerms(Section):
    """One loyalty programme as customers know it: shown beside its figures."""

    type: str = ""
    joining: str = ""
    accrual: str = ""
    cost: Money = Decimal(0)


def _known_kpi(name: str, segment: str | None = None) -> None:
    if name not in KPI_NAMES:
        raise ValueError(f"{name!r} is no KPI{nearest(name, KPI_NAMES)}")
    if segment is not None and name in _OF_THE_SHOP:
        raise ValueError(f"{name!r} is known of the whole shop only, not of the segment {segment!r}")
