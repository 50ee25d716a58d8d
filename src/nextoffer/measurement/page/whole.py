"""The whole page, in the order a sceptic reads: the answer, who was compared, the figures, then the shop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

from nextoffer.measurement import cells, reading, sentences
from nextoffer.measurement.page.experiments import experiment, verdict_card
from nextoffer.measurement.page.markup import Child, Html, el
from nextoffer.measurement.page.tables import sheet_section
from nextoffer.measurement.reading import Document
from nextoffer.measurement.sheet import Sheet
from nextoffer.texts import say, say_many, text

MOST_BYTES = 100_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class _Thrift:
    """How much is shown: rows of a sheet, whether sheets have pictures, and how many experiments, from the first,
    have pictures, all their figures, and a section of their own."""

    rows: int
    sheets_drawn: bool
    drawn: int
    whole: int
    told: int


# What is given up, step by step, if a page would become too large. The answers stay, whatever happens.
_STEPS = (
    _Thrift(rows=60, sheets_drawn=True, drawn=12, whole=99, told=99),
    _Thrift(rows=40, sheets_drawn=True, drawn=4, whole=99, told=99),
    _Thrift(rows=20, sheets_drawn=True, drawn=2, whole=4, told=99),
    _Thrift(rows=15, sheets_drawn=False, drawn=1, whole=3, told=99),
    _Thrift(rows=12, sheets_drawn=False, drawn=0, whole=1, told=8),
    _Thrift(rows=3, sheets_drawn=False, drawn=0, whole=0, told=0),
)


def page(
    document: Document, sheets: Sequence[Sheet], language: str = "en", made_at: datetime | None = None
) -> str:
    """A document of `measure --json` and its sheets as one HTML page of at most 100 KB.

    Parameters
    ----------
    document : what `to_json` gives; parts that are missing are left out
    sheets : the tables of figures, in the order they are read
    made_at : when the measurement was made, in the shop's time zone; the page says it
    """
    written = ""
    for thrift in _STEPS:
        written = _page(document, sheets, language, made_at, thrift)
        if len(written.encode()) <= MOST_BYTES:
            break
    return written


def _page(
    document: Document, sheets: Sequence[Sheet], language: str, made_at: datetime | None, thrift: _Thrift
) -> str:
    currency = document["currency"]
    named = list(enumerate(reading.readouts(document), 1))
    title, meta = say(language, "Did the offers pay?"), _meta(document, made_at, language)
    body: list[Child] = [
        el(
            "header",
            el("h1", title),
            el("p", _meta(document, made_at, language), class_="meta"),
            _narrowed(document, language),
        ),
        [
            verdict_card(readout, f"experiment-{at}" if at <= thrift.told else None, currency, language)
            for at, readout in named
        ],
        _nav(sheets, language),
        [
            experiment(
                readout, f"experiment-{at}", currency, language, at <= thrift.drawn, at <= thrift.whole
            )
            for at, readout in named[: thrift.told]
        ],
        _shortened(len(named) - min(thrift.whole, thrift.told), language),
        _method(language),
        [
            sheet_section(sheet, currency, language, thrift.sheets_drawn, thrift.rows)
            for sheet in sheets
            if sheet.rows
        ],
        el("footer", meta),
    ]
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{title} · nextoffer"),
        el("style", Html(style)),
    )
    return f"<!doctype html>\n{el('html', head, el('body', el('main', body)), lang=language)}\n"


def _meta(document: Document, made_at: datetime | None, language: str) -> str:
    told = say(
        language,
        "Data from {start} until {end}; money in {currency}.",
        start=str(document.get("from", ""))[:10],
        end=str(document.get("until", ""))[:10],
        currency=str(document["currency"]),
    )
    if made_at is None:
        return told
    made = say(language, "Made on {moment}.", moment=f"{made_at:%Y-%m-%d %H:%M %Z}".strip())
    return f"{told} {made}"


def _narrowed(document: Document, language: str) -> Html | None:
    told = sentences.narrowed(document, language)
    return el("p", el("strong", told)) if told else None


def _nav(sheets: Sequence[Sheet], language: str) -> Html | None:
    shown = [sheet for sheet in sheets if sheet.rows]
    if not shown:
        return None
    links = [el("a", say(language, "How this is measured"), href="#method")]
    for sheet in shown:
        title = re.sub(r" \([^)]*\)$", "", cells.words(sheet.title, language))  # without the remark
        links.append(el("a", title, href=f"#table-{sheet.name}"))
    return el("nav", links, aria_label=say(language, "Contents"))


def _shortened(n: int, language: str) -> Html | None:
    if n <= 0:
        return None
    told = say_many(
        language,
        "{n} experiment is told in short, to keep the page small; `nextoffer measure --json` holds everything.",
        "{n} experiments are told in short, to keep the page small; `nextoffer measure --json` holds everything.",
        n,
    )
    return el("p", told, class_="note")


def _method(language: str) -> Html:
    return el(
        "section",
        el("h2", say(language, "How this is measured, and what it cannot say"), id="method"),
        [el("p", say(language, line)) for line in _HOW],
        el("h3", say(language, "What cannot be had")),
        el("ul", [el("li", say(language, line)) for line in _NOT]),
    )


_HOW = (
    text(
        "Chance decides who gets offers and who is held out. That is written down before the first offer leaves the "
        "house and is never changed. Since nothing else differs, what the groups spend differently was caused by "
        "the offers."
    ),
    text(
        "Everybody assigned counts, whether they opened, bought or did nothing (intention to treat). Only closed "
        "windows count, net of returns. The held-out who would have met an offer are recorded at the same point of "
        "the programme, so that they can be compared with those who met it."
    ),
    text(
        "Then the groups are shuffled thousands of times. A difference is called a win if chance alone brings one so "
        "large in fewer than 25 shuffles of 1,000, and a loss likewise; the intervals come from the same shuffles. "
        "If the groups are not of the sizes configured (p below 0.001), or more than 1% of the held-out met an offer, "
        "there is no readout."
    ),
)
_NOT = (
    text("A useful answer from ten held-out buyers: the interval is then three to five times up or down."),
    text("An exact error where offers change the shape of baskets: false wins may reach 5% instead of 2.5%."),
    text(
        "The certainty of the usual test (Welch) where few are held out: it is bought with false wins, up to 18 in 100."
    ),
    text("What one customer did because of an offer: only groups can be compared."),
)
