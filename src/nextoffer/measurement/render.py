"""A measurement as a marketer reads it: first what offers caused, then what is merely counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nextoffer.domain.money import minor_digits, to_wire
from nextoffer.measurement.experiment import MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT, Effect
from nextoffer.measurement.kpi import ATTRIBUTION_DAYS, Attributed, Kpis, Participation

if TYPE_CHECKING:
    from nextoffer.measurement.report import Checks, Measurement

_COLOURS = {"win": "green", "loss": "red", "not shown": "yellow", "too few buyers": "yellow"}


def rendered(measurement: Measurement) -> RenderableType:
    """All parts of a report, one below the other."""
    m = measurement
    title = f"{m.experiment} (version {m.version}), {m.start:%Y-%m-%d} to {m.end:%Y-%m-%d}"
    parts: list[RenderableType] = [Text(title, style="bold"), _checks(m.checks)]
    if m.effects:
        parts += [_caused(m), *_notes(m)]
    parts += [_counted(m), _participation(m.participation), _attributed(m.attributed, m.currency)]
    return Group(*parts)


def _checks(checks: Checks) -> Text:
    groups = f"{checks.n_treated:,} customers were treated, {checks.n_holdout:,} held out. "
    if checks.blocked is not None:
        return Text(f"{groups}No readout: {checks.blocked}.", style="red")
    return Text(
        f"{groups}The split is as configured; {checks.contaminated_share:.2%} of the holdout met an offer."
    )


def _caused(m: Measurement) -> Table:
    table = _table(f"What the offers caused per customer (money in {m.currency}): treated minus holdout")
    for name in ("", "treated", "holdout", "difference", "95 % interval", "p", "verdict"):
        table.add_column(name, justify="left" if name in ("", "verdict") else "right", no_wrap=True)
    for name, effect in m.effects:
        digits = _digits(name, m.currency)
        table.add_row(
            name,
            f"{effect.treated.mean:.{digits}f}",
            f"{effect.holdout.mean:.{digits}f}",
            _number(effect.difference, digits),
            _interval(effect.low, effect.high, digits),
            "" if effect.p is None else f"{effect.p:.4f}",
            Text(effect.verdict, style=_COLOURS[effect.verdict]),
        )
    return table


def _notes(m: Measurement) -> list[RenderableType]:
    """What one must know to read the table; the usual test's answer in grey."""
    revenue = dict(m.effects)["revenue"]
    small = f" Small holdout (under {SMALL_HOLDOUT} buyers): wide intervals." if revenue.small_holdout else ""
    lines = [
        Text(f"Buyers: {revenue.treated.n_buyers:,} treated, {revenue.holdout.n_buyers:,} held out.{small}")
    ]
    for name, effect in m.effects:
        lines += [Text(line) for line in (_in_percent(name, effect), _too_little(name, effect)) if line]
    digits = _digits("revenue", m.currency)
    if revenue.detectable is not None:
        lines.append(
            Text(
                f"A revenue difference of {revenue.detectable:.{digits}f} {m.currency} "
                f"would be found 8 times in 10. {revenue.n_permutations:,} permutations, seed {revenue.seed}."
            )
        )
    if revenue.shape_differs:
        lines.append(Text("Baskets differ in shape between the groups: the error may reach 5 %.", "yellow"))
    if revenue.welch_low is not None:
        interval = _interval(revenue.welch_low, revenue.welch_high, digits)
        lines.append(
            Text(
                f"Welch would say {interval} for revenue: it declares too many wins where few are held out.",
                style="bright_black",
            )
        )
    return [*lines]


def _in_percent(name: str, effect: Effect) -> str:
    if effect.relative_note is not None:
        return f"{name.capitalize()} in %: {effect.relative_note}."
    if effect.relative is None or effect.relative_low is None or effect.relative_high is None:
        return ""
    low, high = (
        f"{end:+.1%}" if math.isfinite(end) else "∞" for end in (effect.relative_low, effect.relative_high)
    )
    return f"{name.capitalize()} in %: {effect.relative:+.1%} ({low} to {high})."


def _too_little(name: str, effect: Effect) -> str:
    """How many more customers would settle it; nothing if it is settled."""
    if effect.verdict in ("win", "loss") or effect.n_more == 0:
        return ""
    if effect.n_more is None:
        return (
            f"{name.capitalize()}: too little data; nobody has bought enough yet to say how much is needed."
        )
    return f"{name.capitalize()}: too little data: about {effect.n_more:,} more customers {_why(effect)}."


def _why(effect: Effect) -> str:
    if effect.verdict == "too few buyers":
        return f"before {MIN_BUYERS} of each group have bought"
    return f"would let a lift of {TARGET_LIFT:.0%} be found"


def _counted(m: Measurement) -> Table:
    table = _table(f"How the shop does (counted, not caused; money in {m.currency})")
    columns = [("this window", m.now), ("the one before", m.before)]
    columns += [
        (name, kpis) for name, kpis in (("members", m.members), ("others", m.others)) if kpis is not None
    ]
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, justify="right")
    for row in zip(*(_figures(kpis, m.currency) for _, kpis in columns), strict=True):
        table.add_row(row[0][0], *(value for _, value in row))
    return table


def _figures(kpis: Kpis, currency: str) -> list[tuple[str, str]]:
    def money(minor: float | None) -> str:
        return "–" if minor is None else to_wire(round(minor), currency)

    return [
        ("customers who bought", f"{kpis.n_customers:,}"),
        ("orders", f"{kpis.n_orders:,}"),
        ("revenue", money(kpis.revenue)),
        ("bought twice or more", _percent(kpis.repeat_rate)),
        ("orders per buyer", "–" if kpis.frequency is None else f"{kpis.frequency:.2f}"),
        ("average order", money(kpis.average_order)),
        ("spent so far per buyer", money(kpis.lifetime_value)),
    ]


def _participation(part: Participation) -> Text:
    members = "" if part.members is None else f" Of the buyers {_percent(part.members)} are members."
    return Text(
        f"Of the treated {_percent(part.offered)} were made an offer, {_percent(part.clicked)} opened one, "
        f"{_percent(part.redeemed)} used one.{members}"
    )


def _attributed(attributed: Attributed, currency: str) -> Text:
    roi = attributed.note if attributed.roi_percent is None else f"{attributed.roi_percent:+.0f} %"
    return Text(
        f"Attributed (not caused): {attributed.n_orders:,} orders, {to_wire(attributed.revenue, currency)} "
        f"{currency}, within {ATTRIBUTION_DAYS} days of an opened or used offer; cost "
        f"{to_wire(attributed.cost, currency)} {currency}; attributed ROI: {roi}. These customers may have "
        "bought anyway."
    )


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:+.{digits}f}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None else f"{_number(low, digits)} to {_number(high, digits)}"


def _digits(name: str, currency: str) -> int:
    return 4 if name == "orders" else minor_digits(currency) + 1


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
