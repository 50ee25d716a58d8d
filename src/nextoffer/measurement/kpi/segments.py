"""Segments beside each other, and what the programme is meant to reach, for the shop and for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from nextoffer.domain.money import minor_digits
from nextoffer.domain.tables import SEGMENTS
from nextoffer.domain.wording import segment_name
from nextoffer.measurement.kpi.counting import Counted
from nextoffer.measurement.kpi.registry import Kpi, Totals, as_cell, kpi
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import said, text

_SHOWN = (
    "customers",
    "participation",
    "buyers",
    "orders",
    "revenue",
    "average_order",
    "frequency",
    "repeat_share",
    "retention",
    "lifetime_profit",
    "nps",
    "csi",
)
_TARGETS = (
    Column("kpi", text("KPI"), "key"),
    Column("heading", text("KPI")),
    Column("segment", text("segment"), "key"),
    Column("whose", text("segment")),
    Column("target", text("target"), "row"),
    Column("actual", text("actual"), "row"),
    Column("gap", text("gap"), "row"),
    Column("reached", text("reached")),
)


def segments(counted: Counted, kpis: Sequence[str] = _SHOWN) -> Sheet:
    """The KPIs of each segment of today, and of everybody; guests are in no segment."""
    shown = [kpi(name) for name in kpis]
    rows = [_line(slug, totals, shown) for slug, totals in _by_segment(counted)]
    everybody = counted.totals
    rows.append(("all", said("All, guests included"), *(each.cell(everybody) for each in shown)))
    return Sheet(
        name="segments",
        title=text("Segments (counted, not caused)"),
        columns=(
            Column("segment", text("segment"), "key"),
            Column("name", text("segment")),
            *(Column(each.name, each.heading, each.format) for each in shown),
        ),
        rows=tuple(rows),
        notes=(
            said("Segments are today's: who bought lately is in a better one because of it."),
            *counted.filter.notes(),
        ),
    )


def targets(
    counted: Counted, wanted: Mapping[str, float | Mapping[str, float]], currency: str | None = None
) -> Sheet:
    """What each KPI should reach, what it is, and what is missing.

    Parameters
    ----------
    wanted : by KPI, and by KPI of a segment under the segment's slug. Shares and ROI are fractions, money is in
        currency, everything else as it is shown
    """
    unit = 10 ** minor_digits(currency or counted.records.currency)
    everybody, of_segment = counted.totals, dict(_by_segment(counted))
    rows, formats = [], []
    for segment, name, figure in _wanted(wanted):
        each = kpi(name)
        totals = everybody if segment is None else of_segment.get(segment, {})
        target = Fraction(Decimal(str(figure))) * (unit if each.format in ("money", "average") else 1)
        rows.append(_target(each, segment, target, each.exact(totals)))
        formats.append(each.format)
    return Sheet(
        name="targets",
        title=text("Targets"),
        columns=_TARGETS,
        rows=tuple(rows),
        notes=counted.filter.notes(),
        formats=tuple(formats),
    )


def _by_segment(counted: Counted) -> list[tuple[str, Totals]]:
    """The sums of each segment there is, best first; segments of a shop's own come last."""
    found = {slug: totals for slug, totals in counted.by("segment", "is_customer") if slug is not None}
    return [
        (slug, found[slug]) for slug in (*SEGMENTS, *sorted(found.keys() - set(SEGMENTS))) if slug in found
    ]


def _line(slug: str, totals: Totals, shown: Sequence[Kpi]) -> tuple[Cell, ...]:
    return (slug, said(segment_name(slug)), *(each.cell(totals) for each in shown))


def _wanted(
    wanted: Mapping[str, float | Mapping[str, float]],
) -> Iterator[tuple[str | None, str, float]]:
    """(segment, KPI, target): the shop's first, then each segment's, in the order they are written in."""
    for name, figure in wanted.items():
        if not isinstance(figure, Mapping):
            yield None, name, figure
    for segment, figures in wanted.items():
        if isinstance(figures, Mapping):
            for name, figure in figures.items():
                yield segment, name, figure


def _target(each: Kpi, segment: str | None, target: Fraction, actual: Fraction | None) -> tuple[Cell, ...]:
    gap = None if actual is None else actual - target
    met = None if gap is None else gap >= 0 if each.better >= 0 else gap <= 0
    return (
        each.name,
        said(each.heading),
        segment or "all",
        said("Everybody") if segment is None else said(segment_name(segment)),
        as_cell(target, each.format),
        as_cell(actual, each.format),
        as_cell(gap, each.format),
        None if met is None else said("yes") if met else said("no"),
    )
