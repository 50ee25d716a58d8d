"""A measurement as a marketer reads it: first what offers caused, then what is merely counted."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nextoffer.domain.money import minor_digits
from nextoffer.measurement.experiment import MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT, Effect
from nextoffer.measurement.kpi import ATTRIBUTION_DAYS, Attributed, Kpis, Participation
from nextoffer.texts import in_language, number_text, percent_text, say, say_many, text

if TYPE_CHECKING:
    from nextoffer.measurement.report import Checks, Measurement

_COLOURS = {
    text("win"): "green",
    text("loss"): "red",
    text("not shown"): "yellow",
    text("too few buyers"): "yellow",
}
_NAMES = {"orders": text("orders"), "revenue": text("revenue"), "margin": text("margin")}


def rendered(measurement: Measurement, language: str = "en") -> RenderableType:
    """All parts of a report, one below the other."""
    m = measurement
    title = say(
        language,
        "{experiment} (version {version}), {start} to {end}",
        experiment=m.experiment,
        version=m.version,
        start=f"{m.start:%Y-%m-%d}",
        end=f"{m.end:%Y-%m-%d}",
    )
    parts: list[RenderableType] = [Text(title, style="bold"), _checks(m.checks, language)]
    if m.effects:
        parts += [_caused(m, language), *_notes(m, language)]
    parts += [
        _counted(m, language),
        _participation(m.participation, language),
        _attributed(m.attributed, m.currency, language),
    ]
    return Group(*parts)


def _checks(checks: Checks, language: str) -> Text:
    groups = say(
        language,
        "{treated} customers were treated, {holdout} held out.",
        treated=checks.n_treated,
        holdout=checks.n_holdout,
    )
    if checks.blocked is not None:
        blocked = say(language, "No readout: {why}", why=checks.blocked)
        return Text(f"{groups} {blocked}", style="red")
    met = say(
        language,
        "The split is as configured; {share} of the holdout met an offer.",
        share=percent_text(language, checks.contaminated_share, 2),
    )
    return Text(f"{groups} {met}")


def _caused(m: Measurement, language: str) -> Table:
    title = text("What the offers caused per customer (money in {currency}): treated minus holdout")
    table = _table(say(language, title, currency=m.currency))
    table.add_column("", no_wrap=True)
    for name in (text("treated"), text("holdout"), text("difference"), text("95 % interval"), "p"):
        table.add_column(say(language, name), justify="right", no_wrap=True)
    table.add_column(say(language, "verdict"), no_wrap=True)
    for name, effect in m.effects:
        digits = _digits(name, m.currency)
        table.add_row(
            _name(name, language),
            number_text(language, effect.treated.mean, digits),
            number_text(language, effect.holdout.mean, digits),
            _number(effect.difference, digits, language),
            _interval(effect.low, effect.high, digits, language),
            "" if effect.p is None else number_text(language, effect.p, 4),
            Text(say(language, effect.verdict), style=_COLOURS[effect.verdict]),
        )
    return table


def _notes(m: Measurement, language: str) -> list[RenderableType]:
    """What one must know to read the table; the usual test's answer in grey."""
    revenue = dict(m.effects)["revenue"]
    buyers = say(
        language,
        "Buyers: {treated} treated, {holdout} held out.",
        treated=revenue.treated.n_buyers,
        holdout=revenue.holdout.n_buyers,
    )
    if revenue.small_holdout:
        small = text("Small holdout (under {n} buyers): wide intervals.")
        buyers = f"{buyers} {say(language, small, n=SMALL_HOLDOUT)}"
    lines = [Text(buyers)]
    for name, effect in m.effects:
        told = (_in_percent(name, effect, language), _too_little(name, effect, language))
        lines += [Text(line) for line in told if line]
    if revenue.detectable is not None:
        lines.append(Text(_power(revenue, revenue.detectable, m.currency, language)))
    if revenue.shape_differs:
        message = text("Baskets differ in shape between the groups: the error may reach 5 %.")
        lines.append(Text(say(language, message), "yellow"))
    if revenue.welch_low is not None:
        digits = _digits("revenue", m.currency)
        welch = say(
            language,
            "Welch would say {interval} for revenue: it declares too many wins where few are held out.",
            interval=_interval(revenue.welch_low, revenue.welch_high, digits, language),
        )
        lines.append(Text(welch, style="bright_black"))
    return [*lines]


def _power(revenue: Effect, detectable: float, currency: str, language: str) -> str:
    amount = number_text(language, detectable, _digits("revenue", currency))
    return say(
        language,
        "A revenue difference of {amount} would be found 8 times in 10. {draws} permutations, seed {seed}.",
        amount=f"{amount} {currency}",
        draws=revenue.n_permutations,
        seed=str(revenue.seed),
    )


def _in_percent(name: str, effect: Effect, language: str) -> str:
    title = _name(name, language).capitalize()
    if effect.relative_note is not None:
        note = in_language(effect.relative_note, language)
        return say(language, "{name} in %: {figure}.", name=title, figure=note)
    if effect.relative is None or effect.relative_low is None or effect.relative_high is None:
        return ""
    low, high = (
        percent_text(language, end, 1, signed=True) if math.isfinite(end) else "∞"
        for end in (effect.relative_low, effect.relative_high)
    )
    figure = percent_text(language, effect.relative, 1, signed=True)
    message = text("{name} in %: {figure} ({low} to {high}).")
    return say(language, message, name=title, figure=figure, low=low, high=high)


def _too_little(name: str, effect: Effect, language: str) -> str:
    """How many more customers would settle it; nothing if it is settled."""
    if effect.verdict in ("win", "loss") or effect.n_more == 0:
        return ""
    title = _name(name, language).capitalize()
    if effect.n_more is None:
        message = text("{name}: too little data; nobody has bought enough yet to say how much is needed.")
        return say(language, message, name=title)
    if effect.verdict == "too few buyers":
        return say_many(
            language,
            "{name}: too little data: about {n} more customer before {buyers} of each group have bought.",
            "{name}: too little data: about {n} more customers before {buyers} of each group have bought.",
            effect.n_more,
            name=title,
            buyers=MIN_BUYERS,
        )
    return say_many(
        language,
        "{name}: too little data: about {n} more customer would let a lift of {lift} be found.",
        "{name}: too little data: about {n} more customers would let a lift of {lift} be found.",
        effect.n_more,
        name=title,
        lift=percent_text(language, TARGET_LIFT),
    )


def _counted(m: Measurement, language: str) -> Table:
    title = text("How the shop does (counted, not caused; money in {currency})")
    table = _table(say(language, title, currency=m.currency))
    columns = [(text("this window"), m.now), (text("the one before"), m.before)]
    if m.members is not None:
        columns.append((text("members"), m.members))
    if m.others is not None:
        columns.append((text("others"), m.others))
    table.add_column("")
    for name, _ in columns:
        table.add_column(say(language, name), justify="right")
    for row in zip(*(_figures(kpis, m.currency, language) for _, kpis in columns), strict=True):
        table.add_row(say(language, row[0][0]), *(value for _, value in row))
    return table


def _figures(kpis: Kpis, currency: str, language: str) -> list[tuple[str, str]]:
    def money(minor: float | None) -> str:
        return "–" if minor is None else _amount(round(minor), currency, language)

    frequency = "–" if kpis.frequency is None else number_text(language, kpis.frequency, 2)
    return [
        (text("customers who bought"), number_text(language, kpis.n_customers)),
        (text("orders"), number_text(language, kpis.n_orders)),
        (text("revenue"), money(kpis.revenue)),
        (text("bought twice or more"), _percent(kpis.repeat_rate, language)),
        (text("orders per buyer"), frequency),
        (text("average order"), money(kpis.average_order)),
        (text("spent so far per buyer"), money(kpis.lifetime_value)),
    ]


def _participation(part: Participation, language: str) -> Text:
    reached = say(
        language,
        "Of the treated {offered} were made an offer, {clicked} opened one, {redeemed} used one.",
        offered=_percent(part.offered, language),
        clicked=_percent(part.clicked, language),
        redeemed=_percent(part.redeemed, language),
    )
    if part.members is None:
        return Text(reached)
    members = say(language, "Of the buyers {share} are members.", share=_percent(part.members, language))
    return Text(f"{reached} {members}")


def _attributed(attributed: Attributed, currency: str, language: str) -> Text:
    if attributed.roi_percent is None:
        roi = in_language(attributed.note or "", language)
    else:
        roi = percent_text(language, attributed.roi_percent / 100, signed=True)
    return Text(
        say_many(
            language,
            "Attributed (not caused): {n} order, {revenue}, within {days} days of an opened or used offer; "
            "cost {cost}; attributed ROI: {roi}. These customers may have bought anyway.",
            "Attributed (not caused): {n} orders, {revenue}, within {days} days of an opened or used offer; "
            "cost {cost}; attributed ROI: {roi}. These customers may have bought anyway.",
            attributed.n_orders,
            revenue=f"{_amount(attributed.revenue, currency, language)} {currency}",
            days=ATTRIBUTION_DAYS,
            cost=f"{_amount(attributed.cost, currency, language)} {currency}",
            roi=roi,
        )
    )


def _name(name: str, language: str) -> str:
    return say(language, _NAMES.get(name, name))


def _amount(minor: int, currency: str, language: str) -> str:
    digits = minor_digits(currency)
    return number_text(language, Decimal(minor).scaleb(-digits), digits)


def _number(value: float | None, digits: int, language: str) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    return number_text(language, value, digits, signed=True)


def _interval(low: float | None, high: float | None, digits: int, language: str) -> str:
    if low is None:
        return ""
    ends = (_number(end, digits, language) for end in (low, high))
    return say(language, "{low} to {high}", **dict(zip(("low", "high"), ends, strict=True)))


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


def _percent(share: float | None, language: str) -> str:
    return "–" if share is None else percent_text(language, share, 1)
