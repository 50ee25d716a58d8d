"""What offers caused, on the page: of all metrics for everybody, and of profit by segment and by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nextoffer.measurement import cells, reading, sentences
from nextoffer.measurement.page import charts
from nextoffer.measurement.page.markup import Child, Html, el
from nextoffer.measurement.page.tables import table
from nextoffer.measurement.reading import SYMBOLS, Document
from nextoffer.texts import number_text, say, text


def caused(readout: Document, currency: str, language: str, drawn: bool) -> Html:
    """The effects on everybody assigned, and what one must know to believe them."""
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


def triggered(readout: Document, currency: str, language: str) -> Html | None:
    """The effects on those whom offers could reach at all."""
    effects, refused = readout.get("triggered"), readout["checks"].get("triggered_blocked")
    heading = el("h3", say(language, "Only those who met an offer, or would have met it"))
    if refused:
        why = say(language, "No readout: {why}", why=cells.words(refused, language))
        return el("div", heading, el("p", why))
    return el("div", heading, _effects_table(effects, currency, language)) if effects else None


def _effects_table(effects: Mapping[str, Document], currency: str, language: str) -> Html:
    head = (
        text("difference"),
        reading.interval_heading(effects),
        text("in %"),
        text("p"),
        text("treated"),
        text("holdout"),
    )
    rows = [
        (
            cells.metric_name(name, language),
            _word(name, effect, language),
            cells.difference_text(name, reading.difference(name, effect), currency, language),
            cells.interval_text(name, effect, currency, language),
            cells.relative_text(name, effect, language),
            cells.p_text(effect.get("p"), language),
            cells.value_text(name, effect["treated"]["mean"], currency, language),
            cells.value_text(name, effect["holdout"]["mean"], currency, language),
        )
        for name, effect in reading.in_order(effects)
    ]
    names = ("", say(language, "verdict"), *(say(language, name) for name in head))
    return table(names, rows, numbers=set(range(2, 8)))


def _word(name: str, effect: Document, language: str) -> Html:
    tone = reading.tone(name, effect)
    told = cells.words(sentences.verdict_word(name, effect), language)
    return el("span", f"{SYMBOLS[tone]} {told}", class_=f"word {tone}")


def _relative_chart(effects: Mapping[str, Document], language: str) -> Html | None:
    """Metrics of different units, all as a share of the holdout's mean."""
    spans = [
        charts.Span(
            cells.metric_name(name, language),
            effect["relative"],
            *cells.ends(effect, "relative_"),
            reading.tone(name, effect),
        )
        for name, effect in reading.in_order(effects)
        if effect.get("relative") is not None and not effect.get("relative_note")
    ]
    if not spans:
        return None
    told = [
        f"{cells.metric_name(name, language)} {cells.relative_text(name, effect, language)}"
        for name, effect in reading.in_order(effects)
        if effect.get("relative") is not None and not effect.get("relative_note")
    ]
    caption = say(language, "Change against the holdout, in %.")
    return charts.effects(tuple(spans), "; ".join(told), f"{caption} {_legend(language)}", "+.0%", language)


def _legend(language: str) -> str:
    told = text(
        "The line is the interval, dashed: no effect. ▲ more, ▼ less, ○ not shown; an arrow: the line goes on."
    )
    return say(language, told)


def families(readout: Document, currency: str, language: str, drawn: bool) -> Iterator[Child]:
    """The effect by segment and by kind of offer, with the share of false finds among them."""
    metric = (reading.decisive(readout) or ("profit",))[0]
    for key, heading in sentences.FAMILIES.items():
        parts = reading.parts(readout, key)
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
            reading.tone(metric, effect),
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
    return charts.effects(tuple(spans), "; ".join(told), f"{caption} {_legend(language)}", "+,f", language)


def _parts_table(metric: str, parts: Sequence[Document], currency: str, language: str) -> Html:
    head = (text("difference"), text("interval"), text("p"), text("q"), text("treated"), text("holdout"))
    rows = [
        (
            sentences.part_name(part, language),
            _word(metric, effect, language),
            cells.difference_text(metric, effect.get("difference"), currency, language),
            cells.interval_text(metric, effect, currency, language),
            cells.p_text(effect.get("p"), language),
            cells.p_text(reading.part_q(part), language),
            number_text(language, effect["treated"]["n"]),
            number_text(language, effect["holdout"]["n"]),
        )
        for part in parts
        for effect in (part["effect"],)
    ]
    names = ("", say(language, "verdict"), *(say(language, name) for name in head))
    return table(names, rows, numbers=set(range(2, 8)))
