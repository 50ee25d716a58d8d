"""The tables of a report, in the order they are read: what offers reached, how the shop does, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from nextoffer.config import ProgrammeTerms, Settings
from nextoffer.domain.money import minor_digits, to_minor
from nextoffer.measurement.kpi import Filter, Preset, Terms, Window, compared, count
from nextoffer.measurement.kpi.cohorts import cohorts
from nextoffer.measurement.kpi.joining import joining
from nextoffer.measurement.kpi.members import members
from nextoffer.measurement.kpi.periods import periods
from nextoffer.measurement.kpi.rewards import campaigns, programmes, reward_types
from nextoffer.measurement.kpi.segments import segments, targets
from nextoffer.measurement.kpi.surveys import answers, answers_by_month
from nextoffer.measurement.reach import attribution_sheet, reach_sheet
from nextoffer.measurement.readout import Readout
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Asked:
    """What the tables are about.

    Parameters
    ----------
    preset : what the window is held against
    programme : what the loyalty programme costs in the window, minor units
    wanted : targets by KPI, and by segment and KPI
    before_days : how long before and after joining are compared
    rewards : income from which a type of reward is called high, and medium; minor units
    """

    window: Window
    filter: Filter = field(default_factory=Filter)
    preset: Preset = "previous"
    terms: Terms = field(default_factory=Terms)
    programme: int = 0
    wanted: Mapping[str, float | dict[str, float]] = field(default_factory=dict)
    before_days: int = 91
    rewards: tuple[int, int] = (0, 0)
    programmes: Mapping[str, ProgrammeTerms] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, window: Window, filter: Filter, preset: Preset) -> Asked:
        """As a shop has configured it."""
        currency, programme = settings.currency, settings.programme
        terms = Terms(
            point_value=programme.point_value * 10 ** minor_digits(currency),
            csi_weights=programme.csi_weights,
            zone=settings.timezone,
        )
        cost = to_minor(str(programme.costs), currency)
        measuring = settings.measurement
        days = measuring.before_days or 91
        high, medium = (
            to_minor(income, currency) for income in (measuring.reward_high, measuring.reward_medium)
        )
        return cls(
            window,
            filter,
            preset,
            terms,
            cost,
            programme.targets,
            days,
            (high, medium),
            settings.programmes,
        )


def sheets_of(records: Records, asked: Asked, main: Readout) -> tuple[Sheet, ...]:
    """Every table; those with nothing to tell are left out. What offers caused and cost is known of the window that
    was measured only."""
    window, other = compared(asked.window, asked.preset, ZoneInfo(asked.terms.zone))
    filter = asked.filter
    extra = _extra(asked, main, records.currency) if window == asked.window else {}
    now = count(records, window, asked.terms, filter, extra)
    before = count(records, other, asked.terms, filter)
    sheets = (
        periods(now, before),
        targets(now, asked.wanted),
        segments(now),
        members(now, _caused(main, records.currency)),
        joining(records, window, asked.before_days, asked.terms, filter),
        cohorts(records, window, asked.terms, filter),
        reward_types(records, window, *asked.rewards, asked.terms, filter),
        campaigns(main.attributed, filter),
        programmes(now, asked.programmes),
        attribution_sheet(main.attributed),
        reach_sheet(records, window.start, window.end),
        answers(now),
        answers_by_month(now),
    )
    return tuple(sheet for sheet in sheets if sheet.rows)


def _extra(asked: Asked, main: Readout, currency: str) -> dict[str, int]:
    """Sums of the KPIs that are not counted from orders, minor units."""
    put_down, profit = main.attributed, main.effect("profit")
    extra = {
        "programme_cost": put_down.cost if main.roi.cost is None else main.roi.cost,
    }
    if not put_down.of_category:
        extra |= {"attributed_cost": put_down.cost, "attributed_net": put_down.revenue - put_down.cost}
    if profit is not None and profit.difference is not None:
        caused = round(profit.difference * profit.treated.n * 10 ** minor_digits(currency))
        extra["incremental_profit"] = caused - asked.programme
    return extra


def _caused(main: Readout, currency: str) -> dict[str, tuple[float, float | None, float | None]]:
    """What the experiment found, by KPI, per customer and in minor units."""
    unit = 10 ** minor_digits(currency)
    names = {
        "revenue": "revenue_per_customer",
        "margin": "margin_per_customer",
        "average_order": "average_order",
    }
    found = {}
    for name, kpi in {**names, "conversion": "conversion"}.items():
        effect, scale = main.effect(name), 1 if name == "conversion" else unit
        if effect is not None and effect.difference is not None:
            low, high = (None if end is None else end * scale for end in (effect.low, effect.high))
            found[kpi] = (effect.difference * scale, low, high)
    return found
