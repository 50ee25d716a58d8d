"""This period against another: every KPI, by how much of itself it changed, and which way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from nextoffer.measurement.kpi.counting import Counted
from nextoffer.measurement.kpi.registry import KPIS, Kpi, as_cell
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import Said, said, text

UNCHANGED = 0.0005  # a relative change that reads 0.0 %
_COLUMNS = (
    Column("kpi", text("KPI"), "key"),
    Column("heading", text("KPI")),
    Column("now", text("this period"), "row"),
    Column("before", text("the one before"), "row"),
    Column("change", text("change"), "change"),
    Column("trend", text("trend")),
)


def periods(now: Counted, before: Counted, kpis: Sequence[Kpi] = KPIS) -> Sheet:
    """Each KPI in two periods, and its relative change: 10 % that become 15 % are +50 %.

    A KPI known in neither period is left out.
    """
    later, earlier = now.totals, before.totals
    found = [(kpi, kpi.exact(later), kpi.exact(earlier)) for kpi in kpis]
    told = [each for each in found if each[1] is not None or each[2] is not None]
    spans = said(
        "{start} to {end} against {start_before} to {end_before}; the last days are not included.",
        start=f"{now.window.start:%Y-%m-%d}",
        end=f"{now.window.end:%Y-%m-%d}",
        start_before=f"{before.window.start:%Y-%m-%d}",
        end_before=f"{before.window.end:%Y-%m-%d}",
    )
    return Sheet(
        name="periods",
        title=text("This period and the one before (counted, not caused)"),
        columns=_COLUMNS,
        rows=tuple(_row(*each) for each in told),
        notes=(spans, *now.filter.notes()),
        formats=tuple(kpi.format for kpi, _, _ in told),
    )


def change(now: Fraction | float | None, before: Fraction | float | None) -> float | None:
    """The change as a part of the size of what was before; None from nothing, as no part of nothing can be said.

    >>> change(15, 10), change(5, 0), change(0, 0)
    (0.5, None, 0.0)
    """
    if now is None or before is None or (before == 0 and now != 0):
        return None
    return float((Fraction(now) - Fraction(before)) / abs(Fraction(before))) if before else 0.0


def trend(now: Fraction | float | None, before: Fraction | float | None, better: int = 0) -> Said | None:
    """Which way it went, in a word; and whether that is good, where more (or less) is better."""
    if now is None or before is None:
        return None
    if now == before or (before != 0 and abs(change(now, before) or 0) < UNCHANGED):
        return said("unchanged")
    if before == 0:
        return said("new")
    up = now > before
    if better == 0:
        return said("up") if up else said("down")
    if up == (better > 0):
        return said("up, better") if up else said("down, better")
    return said("up, worse") if up else said("down, worse")


def _row(kpi: Kpi, now: Fraction | None, before: Fraction | None) -> tuple[Cell, ...]:
    return (
        kpi.name,
        said(kpi.heading),
        as_cell(now, kpi.format),
        as_cell(before, kpi.format),
        change(now, before),
        trend(now, before, kpi.better),
    )
