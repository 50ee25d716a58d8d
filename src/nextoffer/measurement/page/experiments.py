"""An experiment on the page: its answer, who was compared, what was caused, and what is merely attributed."""

from __future__ import annotations

from collections.abc import Mapping

from nextoffer.measurement import cells, sentences
from nextoffer.measurement.page.effects import caused, families, triggered
from nextoffer.measurement.page.markup import Child, Html, el
from nextoffer.measurement.page.tables import table
from nextoffer.measurement.reading import SYMBOLS, Document
from nextoffer.texts import number_text, percent_text, say, text

# What is told of the groups and of those left out, in this order, if the document says it.
_CHECKS = {
    "n_treated": text("Assigned to offers"),
    "n_holdout": text("Held out"),
    "n_exposed_treated": text("Treated who met an offer, or from whom another experiment held it back"),
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
        parts.append(caused(readout, currency, language, drawn))
        if whole:
            parts += [triggered(readout, currency, language), *families(readout, currency, language, drawn)]
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
