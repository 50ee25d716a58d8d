"""What a report says in words, from the document `measure --json` prints: the verdict first, then what limits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nextoffer.measurement import cells, reading
from nextoffer.measurement.effect import ALPHA, MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT
from nextoffer.measurement.reading import Document, Tone
from nextoffer.texts import number_text, percent_text, say, say_many, text


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in a word, and the figures behind it; `tone` is for colour, which never stands alone."""

    tone: Tone
    headline: str
    figures: str


def narrowed(document: Document, language: str) -> str:
    """Which part of the shop a document is about; nothing for the whole shop."""
    part = document.get("filter") or {}
    told = [
        say(language, message, name=cells.words(str(part[key]), language))
        for key, message in _NARROWED.items()
        if part.get(key)
    ]
    return " ".join(told)


_NARROWED = {
    "segment": text("Only the segment {name}."),
    "kind": text("Only offers of the kind {name}."),
    "category": text("Only the category {name}."),
}


def title(readout: Document, language: str) -> str:
    """An experiment by name, version and what it keeps back."""
    told = say(
        language,
        "{experiment} (version {version})",
        experiment=str(readout["experiment"]["name"]),
        version=readout["experiment"]["version"],
    )
    what = cells.words(readout.get("what"), language)
    return f"{told}: {what}" if what else told


def verdict(readout: Document, currency: str, language: str) -> Verdict:
    """Whether it pays, in one sentence. Too little data is never a success."""
    blocked = readout.get("checks", {}).get("blocked")
    if blocked:
        return Verdict("blocked", say(language, "No answer"), _sentence(cells.words(blocked, language)))
    found = reading.decisive(readout)
    if found is None:
        return Verdict("unknown", say(language, "Not yet known"), _nothing_yet(readout, language))
    name, effect = found
    figures = money_sentence(name, effect, currency, language)
    told = effect.get("verdict")
    if told in ("win", "loss") and not readout.get("settled", True):
        return Verdict("unknown", say(language, _SO_FAR[told]), f"{figures} {say(language, _NOT_SETTLED)}")
    if told in ("win", "loss"):
        return Verdict(told, say(language, _HEADLINES[told, name == "profit"]), figures)
    if told == "not shown" and effect.get("n_more") == 0:
        enough = text("A lift of {lift} would have been found 8 times in 10.")
        lift = percent_text(language, TARGET_LIFT)
        return Verdict(
            "unknown", say(language, "No difference shown"), f"{figures} {say(language, enough, lift=lift)}"
        )
    missing = too_little(effect, language)
    return Verdict("unknown", say(language, "Not yet known"), f"{missing} {figures}".strip())


_HEADLINES = {
    ("win", True): text("It pays"),
    ("win", False): text("More than without offers"),
    ("loss", True): text("It loses money"),
    ("loss", False): text("Less than without offers"),
}


def verdict_word(name: str, effect: Document) -> str:
    """An effect's verdict as an English text; a cost that grows is more, not a win."""
    told = str(effect["verdict"])
    if reading.is_counted(name, effect):
        return text("counted")
    return (_COST_WORDS if name in cells.COSTS else _WORDS).get(told) or _WORDS.get(told, told)


_WORDS = {
    "win": text("win"),
    "loss": text("loss"),
    "not shown": text("not shown"),
    "too few buyers": text("too few buyers"),
}
_COST_WORDS = {"win": text("more"), "loss": text("less")}


def _nothing_yet(readout: Document, language: str) -> str:
    """Why there is no figure at all."""
    days = readout.get("window_days")
    if not days or not (readout.get("excluded") or {}).get("still_open"):
        return say(language, "Nothing was measured yet.")
    waiting = text(
        "The window of {days} days is still open for those assigned so far: measure again when it is over."
    )
    return say(language, waiting, days=days)


_SO_FAR = {"win": text("More so far, not settled"), "loss": text("Less so far, not settled")}
_NOT_SETTLED = text(
    "One look alone would settle it. Who looks again and again sees such a difference by chance sooner or later, and "
    "the interval for any number of looks still holds 0: wait, or measure a span you fixed beforehand."
)


def money_sentence(name: str, effect: Document, currency: str, language: str) -> str:
    """The effect on an amount of money: of all treated customers together, and of each."""
    each = effect.get("difference")
    if each is None:
        return ""
    told = (each, *cells.ends(effect))
    n = effect["treated"]["n"]
    total, total_low, total_high = cells.amounts([amount * n for amount in told], currency, language)
    one, one_low, one_high = cells.amounts(told, currency, language)
    return say(
        language,
        "{metric}: {total} {currency} in total ({total_low} to {total_high}); "
        "{one} {currency} per treated customer ({one_low} to {one_high}).",
        metric=cells.metric_name(name, language),
        currency=currency,
        total=total,
        total_low=total_low,
        total_high=total_high,
        one=one,
        one_low=one_low,
        one_high=one_high,
    )


def too_little(effect: Document, language: str) -> str:
    """How many more customers would settle it."""
    more = effect.get("n_more")
    if more is None:
        return say(language, "Nobody has bought enough yet to say how much data is needed.")
    if effect["verdict"] == "too few buyers":
        return say_many(
            language,
            "About {n} more customer before {buyers} of each group have bought.",
            "About {n} more customers before {buyers} of each group have bought.",
            more,
            buyers=MIN_BUYERS,
        )
    return say_many(
        language,
        "About {n} more customer would let a lift of {lift} be found.",
        "About {n} more customers would let a lift of {lift} be found.",
        more,
        lift=percent_text(language, TARGET_LIFT),
    )


FAMILIES = {"segments": text("By segment: {metric}"), "kinds": text("By kind of offer: {metric}")}
ABOUT_Q = text(
    "q is the share of false finds to expect among those at least this clear: many parts were looked at, so some "
    "look good by chance. Trust those with q of 5% or less; the intervals allow for it."
)


def part_name(part: Document, language: str) -> str:
    """A segment or a kind, as people call it."""
    return cells.words(str(part.get("name") or part.get("key") or cells.NOTHING), language)


def attributed_roi(readout: Document, language: str) -> str:
    """What may be put down to offers, for each unit of cost."""
    attributed, roi = readout.get("attributed") or {}, readout.get("roi") or {}
    percent = roi.get("attributed_percent", attributed.get("roi_percent"))
    if percent is None:
        return cells.words(attributed.get("note"), language) or cells.NOTHING
    return percent_text(language, percent / 100, signed=True)


def incremental_roi(readout: Document, language: str) -> str:
    """What offers caused for each unit of cost, with its interval; nothing where that is not known."""
    roi = readout.get("roi") or {}
    if roi.get("incremental_percent") is None:
        return ""
    percents = (roi["incremental_percent"], *cells.ends(roi))
    figure, low, high = (cells.percentage(percent / 100, language) for percent in percents)
    return cells.around(figure, low, high, language)


def groups(readout: Document, language: str) -> str:
    """Who was compared, and whether that is a fair comparison."""
    checks = readout["checks"]
    told = say(
        language,
        "{treated} customers were treated, {holdout} held out.",
        treated=checks["n_treated"],
        holdout=checks["n_holdout"],
    )
    if checks.get("blocked"):
        refused = say(language, "No readout: {why}", why=cells.words(checks["blocked"], language))
        return f"{told} {refused}"
    met = say(
        language,
        "The split is as configured; {share} of the holdout met an offer.",
        share=percent_text(language, checks.get("contaminated_share") or 0.0, 2),
    )
    return f"{told} {met}"


def limits(readout: Document, currency: str, language: str) -> Iterator[str]:
    """What one must know to believe the figures as far as they go, and no further."""
    found = reading.decisive(readout)
    if found is None:
        return
    name, effect = found
    yield _buyers(effect, language)
    if effect.get("detectable") is not None:
        yield say(
            language,
            "A difference of {amount} per customer ({metric}) would be found 8 times in 10.",
            amount=cells.amount_text(effect["detectable"], currency, language),
            metric=cells.metric_name(name, language).lower(),
        )
    if effect.get("shape_differs"):
        yield say(language, "Baskets differ in shape between the groups: the error may reach 5 %.")
    if effect.get("theta"):
        yield say(
            language,
            "Spend before the experiment steadied the comparison (theta {theta}): variance cut by {cut}.",
            theta=number_text(language, effect["theta"], 3),
            cut=percent_text(language, effect.get("variance_cut") or 0.0, 0),
        )
        yield say(
            language,
            "Differences are what the past does not explain; the column in % and the means compare spend as it is.",
        )
    if effect.get("alpha", ALPHA) < ALPHA:
        yield say(
            language,
            "One of several planned looks: the intervals are those of {level}, so that all looks together err "
            "5 times in 100.",
            level=percent_text(language, 1 - 2 * effect["alpha"], 2),
        )
    if effect.get("n_permutations"):
        yield say(
            language,
            "{draws} permutations, seed {seed}: anyone who repeats them gets the same figures.",
            draws=effect["n_permutations"],
            seed=str(effect["seed"]),
        )
    second = readout.get("second_opinion")
    if second is not None:
        yield say(
            language,
            "tea-tasting (Welch, for balanced groups) says {interval} per customer, p {p}.",
            interval=cells.interval_text(name, second, currency, language),
            p=cells.p_text(second["p"], language),
        )
    always = readout.get("anytime") or {}
    if always.get("p") is not None:
        yield say(
            language,
            "Valid however often one looks: {interval} per customer, p {p}.",
            interval=cells.interval_text(name, {"difference": 0, **always}, currency, language),
            p=cells.p_text(always["p"], language),
        )
    yield from (_sentence(cells.words(note, language)) for note in readout.get("notes") or ())


def welch(readout: Document, currency: str, language: str) -> str:
    """What the usual test would have said: for comparison only."""
    found = reading.decisive(readout)
    if found is None or found[1].get("welch_low") is None:
        return ""
    name, effect = found
    usual = {"difference": 0, "low": effect["welch_low"], "high": effect["welch_high"]}
    return say(
        language,
        "Welch would say {interval} ({metric}): it declares too many wins where few are held out.",
        interval=cells.interval_text(name, usual, currency, language),
        metric=cells.metric_name(name, language).lower(),
    )


def small_holdout(readout: Document, language: str) -> str:
    """The warning of few held-out buyers, where there is an interval to warn of."""
    found = reading.decisive(readout)
    if found is None or not found[1].get("small_holdout") or found[1].get("difference") is None:
        return ""
    return say(language, "Small holdout (under {n} buyers): wide intervals.", n=SMALL_HOLDOUT).rstrip(".")


def _buyers(effect: Document, language: str) -> str:
    return say(
        language,
        "Buyers: {treated} treated, {holdout} held out.",
        treated=effect["treated"]["n_buyers"],
        holdout=effect["holdout"]["n_buyers"],
    )


def _sentence(told: str) -> str:
    """With a capital and a full stop."""
    told = told[:1].upper() + told[1:]
    return told if told.endswith((".", "?", "!")) else f"{told}."
