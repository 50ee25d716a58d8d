"""An experiment on the page: who was compared, what offers caused, and what is merely attributed to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nextoffer.measurement import cells, sentences
from nextoffer.measurement.page import charts
from nextoffer.measurement.page.markup import Child, Html, el
from nextoffer.measurement.page.tables import table
from nextoffer.measurement.sentences import SYMBOLS, Document
from nextoffer.texts import number_text, percent_text, say, text

# What is told of the groups and of those left out, in this order, if the document says it.
_CHECKS = {
    "n_treated": text("Assigned to offers"),
    "n_holdout": text("Held out"),
    "n_exposed_treated": text("Treated who met an offer"),
    "n_exposed_holdout": text("Held out who would have met one"),
    "n_contaminated": text("Held out who met an offer all the same (contamination)"),
    "n_crossed": text("In the other group as a visitor"),
    "n_altered": text("Assignments that are not what was drawn"),
}
_RATIOS = {
    "split_p": text("Sample ratio of all assigned"),
    "strata_p": text("Sample ratio of the most uneven segment"),
    "early_exposure_p": text("Sample ratio of those who would meet an offer within a day"),
    "exposure_p": text("Sample ratio of those who met an offer, or would have"),
}
_EXCLUDED = {
    "orders_before_assignment": text("Orders before the customer was assigned"),
    "still_open": text("Customers whose window is still open"),
    "guest_orders": text("Orders of guests, whom nobody can assign"),
    "in_both_groups": text("Customers in both groups"),
}


def verdict_card(readout: Document, anchor: str | None, currency: str, language: str) -> Html:
    """The answer, before anything else; it leads to the rest, if that is on the page."""
    told = sentences.verdict(readout, currency, language)
    small = sentences.small_holdout(readout, language)
    title = sentences.title(readout, language)
    return el(
        "section",
        el("h2", el("a", title, href=f"#{anchor}", style="color:inherit") if anchor else title),
        el("p", f"{SYMBOLS[told.tone]} {told.headline}", class_="answer"),
        el("p", told.figures) if told.figures else None,
        el("span", small, class_="label") if small else None,
        class_=f"verdict {told.tone}",
    )


def experiment(
    readout: Document, anchor: str, currency: str, language: str, drawn: bool, whole: bool
) -> Html:
    """One experiment: `drawn` with pictures, `whole` with all its figures and not only the effects on everybody."""
    parts: list[Child] = [
        el("h2", sentences.title(readout, language), id=anchor),
        el("p", _span(readout, language), class_="meta"),
        _compared(readout, language),
    ]
    if readout.get("incremental") and not readout["checks"].get("blocked"):
        parts.append(_caused(readout, currency, language, drawn))
        if whole:
            parts += [_triggered(readout, currency, language), *_families(readout, currency, language, drawn)]
    parts.append(_beside(readout, currency, language))
    return el("section", parts)


def _span(readout: Document, language: str) -> str:
    span = f"{str(readout.get('from', ''))[:10]} – {str(readout.get('until', ''))[:10]}"
    if not readout.get("window_days"):
        return say(language, "{span}; all that a customer buys after being assigned counts.", span=span)
    days = text("{span}; what a customer buys in {days} days after being assigned counts.")
    return say(language, days, span=span, days=readout["window_days"])


def _compared(readout: Document, language: str) -> Html:
    checks, excluded = readout["checks"], readout.get("excluded") or {}
    counts = [_counted(name, heading, checks, language) for name, heading in _CHECKS.items()]
    left_out = [(heading, excluded.get(name)) for name, heading in _EXCLUDED.items()]
    rows: list[tuple[str, ...]] = [row for row in counts if row is not None]
    rows += [
        (say(language, heading), number_text(language, n), say(language, "left out"))
        for heading, n in left_out
        if n
    ]
    rows += [
        (say(language, heading), f"p {cells.p_text(checks[name], language)}", _ratio(checks[name], language))
        for name, heading in _RATIOS.items()
        if checks.get(name) is not None
    ]
    head = ("", say(language, "figure"), say(language, "what it means"))
    return el(
        "div",
        el("h3", say(language, "Who was compared, who was left out, and why")),
        el("p", sentences.groups(readout, language)),
        table(head, rows, numbers={1}),
    )


def _counted(name: str, heading: str, checks: Document, language: str) -> tuple[str, ...] | None:
    n = checks.get(name)
    if n is None:
        return None
    why = ""
    if name == "n_holdout" and checks.get("holdout_share") is not None:
        share = percent_text(language, checks["holdout_share"], 1)
        why = say(language, "{share} were to be held out", share=share)
    if name in ("n_crossed", "n_altered") and n == 0:
        return None
    if name == "n_contaminated":
        share = percent_text(language, checks.get("contaminated_share") or 0.0, 2)
        why = say(language, "{share} of the holdout; above 1% there is no readout", share=share)
    return say(language, heading), number_text(language, n), why


def _ratio(p: float, language: str) -> str:
    if p < 0.001:
        return f"✕ {say(language, _UNLIKELY)}"
    return f"✓ {say(language, _LIKELY)}"


_UNLIKELY = text("too unlikely to be chance (p < 0.001)")
_LIKELY = text("as chance would have it")


def _caused(readout: Document, currency: str, language: str, drawn: bool) -> Html:
    effects = readout["incremental"]
    heading = text("What the offers caused per customer (money in {currency}): treated minus holdout")
    welch = sentences.welch(readout, currency, language)
    parts: list[Child] = [
        el("h3", say(language, heading, currency=currency)),
        el(
            "div",
            _relative_chart(effects, language) if drawn else None,
            _effects_table(effects, currency, language),
            class_="side",
        ),
        el("ul", [el("li", line) for line in sentences.limits(readout, currency, language)]),
        el("p", welch, class_="welch") if welch else None,
    ]
    return el("div", parts)


def _triggered(readout: Document, currency: str, language: str) -> Html | None:
    effects, refused = readout.get("triggered"), readout["checks"].get("triggered_blocked")
    heading = el("h3", say(language, "Only those who met an offer, or would have met it"))
    if refused:
        why = say(language, "No readout: {why}", why=cells.words(refused, language))
        return el("div", heading, el("p", why))
    return el("div", heading, _effects_table(effects, currency, language)) if effects else None


def _effects_table(effects: Mapping[str, Document], currency: str, language: str) -> Html:
    head = (
        text("difference"),
        text("95 % interval"),
        text("in %"),
        text("p"),
        text("treated"),
        text("holdout"),
    )
    rows = [
        (
            cells.metric_name(name, language),
            _word(name, effect, language),
            cells.difference_text(name, effect.get("difference"), currency, language),
            cells.interval_text(name, effect, currency, language),
            cells.relative_text(name, effect, language),
            cells.p_text(effect.get("p"), language),
            cells.value_text(name, effect["treated"]["mean"], currency, language),
            cells.value_text(name, effect["holdout"]["mean"], currency, language),
        )
        for name, effect in sentences.in_order(effects)
    ]
    names = ("", say(language, "verdict"), *(say(language, name) for name in head))
    return table(names, rows, numbers=set(range(2, 8)))


def _word(name: str, effect: Document, language: str) -> Html:
    tone = sentences.tone(name, effect)
    told = cells.words(sentences.verdict_word(name, effect), language)
    return el("span", f"{SYMBOLS[tone]} {told}", class_=f"word {tone}")


def _relative_chart(effects: Mapping[str, Document], language: str) -> Html | None:
    """Metrics of different units, all as a share of the holdout's mean."""
    spans = [
        charts.Span(
            cells.metric_name(name, language),
            effect["relative"],
            *cells.ends(effect, "relative_"),
            sentences.tone(name, effect),
        )
        for name, effect in sentences.in_order(effects)
        if effect.get("relative") is not None and not effect.get("relative_note")
    ]
    if not spans:
        return None
    told = [
        f"{cells.metric_name(name, language)} {cells.relative_text(name, effect, language)}"
        for name, effect in sentences.in_order(effects)
        if effect.get("relative") is not None and not effect.get("relative_note")
    ]
    caption = say(language, "Change against the holdout, in %.")
    return charts.effects(tuple(spans), "; ".join(told), f"{caption} {_legend(language)}", "+.0%", language)


def _legend(language: str) -> str:
    told = text(
        "The line is the 95% interval, dashed: no effect. ▲ more, ▼ less, ○ not shown; an arrow: the line goes on."
    )
    return say(language, told)


def _families(readout: Document, currency: str, language: str, drawn: bool) -> Iterator[Child]:
    """The effect by segment and by kind of offer, with the share of false finds among them."""
    metric = (sentences.decisive(readout) or ("profit",))[0]
    for key, heading in sentences.FAMILIES.items():
        parts = sentences.parts(readout, key)
        if parts:
            name = cells.metric_name(metric, language).lower()
            yield el("h3", say(language, heading, metric=name))
            yield el(
                "div",
                _parts_chart(metric, parts, currency, language) if drawn else None,
                _parts_table(metric, parts, currency, language),
                class_="side",
            )
            yield el("p", say(language, sentences.ABOUT_Q), class_="note")


def _parts_chart(metric: str, parts: Sequence[Document], currency: str, language: str) -> Html | None:
    known = [part for part in parts if part["effect"].get("difference") is not None]
    if not known:
        return None
    spans = [
        charts.Span(
            sentences.part_name(part, language),
            effect["difference"],
            *cells.ends(effect),
            sentences.tone(metric, effect),
        )
        for part in known
        for effect in (part["effect"],)
    ]
    told = []
    for part in known:
        size = cells.difference_text(metric, part["effect"]["difference"], currency, language)
        span = cells.interval_text(metric, part["effect"], currency, language)
        told.append(f"{sentences.part_name(part, language)} {size} ({span})")
    caption = say(
        language,
        "{metric}, {currency} per customer.",
        metric=cells.metric_name(metric, language),
        currency=currency,
    )
    return charts.effects(tuple(spans), "; ".join(told), f"{caption} {_legend(language)}", "+,", language)


def _parts_table(metric: str, parts: Sequence[Document], currency: str, language: str) -> Html:
    head = (text("difference"), text("95 % interval"), text("p"), text("q"), text("treated"), text("holdout"))
    rows = [
        (
            sentences.part_name(part, language),
            _word(metric, effect, language),
            cells.difference_text(metric, effect.get("difference"), currency, language),
            cells.interval_text(metric, effect, currency, language),
            cells.p_text(effect.get("p"), language),
            cells.p_text(sentences.part_q(part), language),
            number_text(language, effect["treated"]["n"]),
            number_text(language, effect["holdout"]["n"]),
        )
        for part in parts
        for effect in (part["effect"],)
    ]
    names = ("", say(language, "verdict"), *(say(language, name) for name in head))
    return table(names, rows, numbers=set(range(2, 8)))


def _beside(readout: Document, currency: str, language: str) -> Html | None:
    """Attributed figures, never without the caused ones."""
    attributed = readout.get("attributed")
    if not attributed:
        return None
    effects = readout.get("incremental") or {}
    unknown = say(language, "not known")
    rows = [
        (
            cells.metric_name(name, language),
            _total(name, effects.get(name), currency, language) or unknown,
            cells.wire_text(attributed[key], language),
        )
        for name, key in (("orders", "n_orders"), ("revenue", "revenue"))
        if attributed.get(key) is not None
    ]
    rows.append(
        (
            "ROI",
            sentences.incremental_roi(readout, language) or unknown,
            sentences.attributed_roi(readout, language),
        )
    )
    why = text(
        "Attributed figures count every order that followed an opened or used offer. These customers may have bought "
        "anyway: attributed is not caused. Decide by the first column."
    )
    return el(
        "div",
        el("h3", say(language, "Caused beside attributed (money in {currency})", currency=currency)),
        table(
            ("", say(language, "caused (incremental)"), say(language, "attributed (not caused)")),
            rows,
            numbers={1, 2},
            kind="pair",
        ),
        el("p", say(language, why), class_="note"),
        _naive(readout, currency, language),
    )


def _total(name: str, effect: Document | None, currency: str, language: str) -> str:
    """Caused by all offers together, with its interval."""
    if effect is None or effect.get("difference") is None:
        return ""
    n = effect["treated"]["n"]
    low, high = cells.ends(effect)
    total, low_told, high_told = (
        cells.total_text(value * n, language) for value in (effect["difference"], low, high)
    )
    return cells.around(total, low_told, high_told, language)


def _naive(readout: Document, currency: str, language: str) -> Html | None:
    """What a shop without a holdout would have believed."""
    naive = readout.get("naive")
    if isinstance(naive, Mapping):
        naive = naive.get("difference", naive.get("revenue"))
    if not isinstance(naive, int | float):
        return None
    told = text(
        "Naive: those who met an offer differ from those who did not by {amount} {currency} of revenue each. That "
        "compares keen customers with the others and proves nothing."
    )
    (amount,) = cells.amounts([naive], currency, language)
    return el("p", say(language, told, amount=amount, currency=currency), class_="note")
