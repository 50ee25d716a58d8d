"""Everything `measure` says: what each experiment found, then how the shop does. One document for every reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nextoffer.domain.money import to_wire
from nextoffer.errors import MeasurementError
from nextoffer.measurement.attribution import Attributed, Touched
from nextoffer.measurement.effect import Arm, Effect
from nextoffer.measurement.judging import Part, Question
from nextoffer.measurement.kpi import Filter
from nextoffer.measurement.participation import Participation, participation
from nextoffer.measurement.readout import Readout, read_out
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Sheet
from nextoffer.measurement.tables import Asked, sheets_of
from nextoffer.texts import Said

if TYPE_CHECKING:
    from rich.console import RenderableType

_MONEY = ("revenue", "margin", "incentives", "contacts", "cost")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found over [start, end): the readouts, the permanent holdout's first, and the tables of figures."""

    currency: str
    start: datetime
    end: datetime
    filter: Filter
    readouts: tuple[Readout, ...]
    participation: Participation
    sheets: tuple[Sheet, ...]
    warnings: tuple[Said, ...] = ()

    @property
    def main(self) -> Readout:
        """The permanent holdout's: all offers together."""
        return self.readouts[0]

    def sheet(self, name: str) -> Sheet | None:
        """A table by name; None if there is none."""
        return next((sheet for sheet in self.sheets if sheet.name == name), None)


def measure(
    records: Records,
    questions: Sequence[Question],
    asked: Asked,
    *,
    n_permutations: int = 9_999,
) -> Measurement:
    """Measure experiments and count KPIs over one window.

    Parameters
    ----------
    questions : the permanent holdout's, then those of other experiments
    asked : the window and the part of the shop that the tables are about

    Raises
    ------
    MeasurementError : the window is empty.
    """
    window = asked.window
    if window.end <= window.start:
        raise MeasurementError(
            f"the window from {window.start:%Y-%m-%d %H:%M} until {window.end:%Y-%m-%d %H:%M} is empty. Days count "
            "once they are over: measure again tomorrow, choose an earlier --from, or a later --until"
        )
    readouts = tuple(read_out(records, question, asked.filter, n_permutations) for question in questions)
    sheets = sheets_of(records, asked, readouts[0])
    main = readouts[0].look
    part = participation(records, main.name, main.version, window.start, window.end)
    return Measurement(records.currency, window.start, window.end, asked.filter, readouts, part, sheets)


def to_json(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON-able values: totals of money are decimal strings, figures per customer are numbers.

    The permanent holdout's readout is spread over the document's top; `experiments` has all of them. An end of an
    interval that cannot be bounded is null.
    """
    m = measurement
    main = _readout_json(m.main, m.currency)
    tables = {sheet.name: sheet.records(m.currency) for sheet in m.sheets}
    return {
        **main,
        "from": m.start.isoformat(),
        "until": m.end.isoformat(),
        "currency": m.currency,
        "filter": {part.name: getattr(m.filter, part.name) for part in fields(m.filter)},
        "experiments": [main, *(_readout_json(each, m.currency) for each in m.readouts[1:])],
        "warnings": list(m.warnings),
        "participation": _participation_json(m.participation),
        "kpis": _kpis_json(tables),
        "tables": tables,
    }


def render(measurement: Measurement, language: str = "en", full: bool = False) -> RenderableType:
    """The measurement as a marketer reads it on a terminal, in a language of `texts`; `full` shows every table."""
    from nextoffer.measurement.render import rendered

    return rendered(to_json(measurement), measurement.sheets, language, full)


def page(measurement: Measurement, language: str = "en", made_at: datetime | None = None) -> str:
    """The measurement as one HTML page of at most 100 KB that needs no network."""
    from nextoffer.measurement.page import page

    return page(to_json(measurement), measurement.sheets, language, made_at)


def _readout_json(readout: Readout, currency: str) -> dict[str, Any]:
    look = readout.look
    caused = readout.caused
    return {
        "experiment": {"name": look.name, "version": look.version},
        "what": readout.question.what,
        "from": look.start.isoformat(),
        "until": look.end.isoformat(),
        "window_days": look.window_days,
        "looks": {"look": readout.question.nth_look, "planned": readout.question.n_looks},
        "checks": readout.checks.to_json(),
        "excluded": readout.excluded,
        "notes": list(readout.notes),
        "incremental": {name: _effect_json(effect) for name, effect in readout.effects},
        "decides": caused.decides,
        "settled": readout.settled,
        "triggered": {name: _effect_json(effect) for name, effect in caused.triggered},
        "segments": [_part_json(part) for part in caused.segments],
        "kinds": [_part_json(part) for part in caused.kinds],
        "anytime": None if caused.anytime is None else _plain(caused.anytime),
        "second_opinion": None if caused.second_opinion is None else _plain(caused.second_opinion),
        "attributed": _attributed_json(readout.attributed, currency),
        "naive": readout.naive,
        "roi": _plain(readout.roi)
        | {"cost": None if readout.roi.cost is None else to_wire(readout.roi.cost, currency)},
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {"key": part.key, "name": part.name, "effect": _effect_json(part.effect), "q": part.effect.q}


def _effect_json(effect: Effect) -> dict[str, Any]:
    arms = {name: _arm_json(getattr(effect, name)) for name in ("treated", "holdout")}
    return _plain(effect) | arms | {"small_holdout": effect.small_holdout}


def _arm_json(arm: Arm) -> dict[str, Any]:
    return {"n": arm.n, "n_buyers": arm.n_buyers, "mean": arm.mean}


def _attributed_json(attributed: Attributed, currency: str) -> dict[str, Any]:
    return {
        "n_orders": attributed.n_orders,
        "n_open_orders": attributed.n_open_orders,
        **{name: to_wire(getattr(attributed, name), currency) for name in (*_MONEY, "programme")},
        "roi_percent": attributed.roi_percent,
        "note": attributed.note,
        "kinds": [_touched_json(row, "kind", currency) for row in attributed.by_kind],
        "campaigns": [_touched_json(row, "campaign", currency) for row in attributed.by_campaign],
    }


def _touched_json(row: Touched, key: str, currency: str) -> dict[str, Any]:
    counts = {
        name: getattr(row, name)
        for name in ("n_offered", "n_clicked", "n_redeemed", "n_orders", "n_contacts")
    }
    money = {name: to_wire(getattr(row, name), currency) for name in _MONEY}
    return {key: getattr(row, key), **counts, **money, "roi_percent": row.roi_percent}


def _participation_json(part: Participation) -> dict[str, Any]:
    counts = {"offered": part.n_offered, "clicked": part.n_clicked, "redeemed": part.n_redeemed}
    return _plain(part) | {name: part.share(n) for name, n in counts.items()}


def _kpis_json(tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The figures of the window and of the one before, by name, and those of members and others."""
    periods, members = tables.get("periods", []), tables.get("members", [])
    return {
        "window": {row["kpi"]: row["now"] for row in periods},
        "before": {row["kpi"]: row["before"] for row in periods},
        "members": {row["kpi"]: row["members"] for row in members} or None,
        "non_members": {row["kpi"]: row["others"] for row in members} or None,
    }


def _plain(item: Any) -> dict[str, Any]:
    """The simple fields of a dataclass; what is not finite becomes None."""
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
        if not isinstance(value, Arm)
    }
