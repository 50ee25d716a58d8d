"""Spans of time a report speaks of, and the ones they are held against."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from nextoffer.measurement.records import naive

Preset = Literal["previous", "year_ago", "half_year", "year", "quarter"]


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end)."""

    start: datetime
    end: datetime

    @property
    def before(self) -> Window:
        """The window of the same length that ends where this one starts."""
        return Window(self.start - (self.end - self.start), self.start)

    @property
    def parameters(self) -> dict[str, datetime]:
        """As SQL parameters, in UTC without zone."""
        return {"start": naive(self.start), "end": naive(self.end)}


def compared(window: Window, preset: Preset = "previous", zone: tzinfo = UTC) -> tuple[Window, Window]:
    """A window and the one it is held against.

    `previous`: as long, just before; `year_ago`: the same a year earlier; `half_year`, `year`: the 6 or 12 months
    up to the window's end against the 6 or 12 before; `quarter`: the last whole calendar quarter of the shop's
    zone before the window's end, against the quarter before it. Months and quarters are the shop's.

    >>> now, before = compared(Window(datetime(2026, 5, 1), datetime(2026, 5, 20)), "quarter")
    >>> now.start.date().isoformat(), now.end.date().isoformat(), before.start.date().isoformat()
    ('2026-01-01', '2026-04-01', '2025-10-01')
    """
    if preset == "previous":
        return window, window.before
    if preset == "year_ago":
        return window, Window(_earlier(window.start, 12, zone), _earlier(window.end, 12, zone))
    end, months = window.end, 12 if preset == "year" else 6
    if preset == "quarter":
        local, months = _local(end, zone), 3
        end = datetime(local.year, local.month - (local.month - 1) % 3, 1, tzinfo=zone)
    middle = _earlier(end, months, zone)
    return Window(middle, end), Window(_earlier(end, 2 * months, zone), middle)


def _earlier(moment: datetime, months: int, zone: tzinfo) -> datetime:
    """So many months earlier at the same local time; the month's last day where it has no such day."""
    local = _local(moment, zone)
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    return local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))


def _local(moment: datetime, zone: tzinfo) -> datetime:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(zone)
