"""A measurement as a marketer reads it on a terminal: the answer, what it rests on, then what is merely counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from nextoffer.measurement import cells, reading, sentences
from nextoffer.measurement.reading import SYMBOLS, Document
from nextoffer.measurement.sheet import Sheet
from nextoffer.texts import say, say_many, text

MAIN = ("profit", "revenue", "margin", "orders", "conversion")  # the metrics of a short report
SHORT = ("periods",)  # the sheets of a short report
_COLOURS = {
    "win": "green",
    "loss": "red",
    "unknown": "yellow",
    "blocked": "red",
    "more": "",
    "less": "",
    "counted": "",
}
_WIDEST = 26  # characters of a text before it is broken into lines
_HEADING = 14  # of a heading
_GAP = 2  # between columns; as much is at the ends of the rules


def rendered(
    document: Document, sheets: Sequence[Sheet] = (), language: str = "en", full: bool = False
) -> RenderableType:
    """What `measure --json` holds, and its sheets, one below the other; `full` leaves nothing out."""
    currency = document["currency"]
    narrowed = sentences.narrowed(document, language)
    parts: list[RenderableType] = [Text(narrowed)] if narrowed else []
    for readout in reading.readouts(document):
        parts += _experiment(readout, currency, language, full)
    shown = [sheet for sheet in sheets if sheet.rows and (full or sheet.name in SHORT)]
    for sheet in shown:
        parts += _sheet(sheet, currency, language)
    if not full and len(shown) < len(sheets):
        parts.append(
            Text(say(language, "Everything: nextoffer measure --full, or --html FILE."), "bright_black")
        )
    return Group(*parts)


def sheet_rendered(sheet: Sheet, currency: str, language: str = "en") -> RenderableType:
    """One table and its notes."""
    return Group(*_sheet(sheet, currency, language))


def _experiment(readout: Document, currency: str, language: str, full: bool) -> Iterator[RenderableType]:
    span = say(
        language,
        "{title}, {start} to {end}",
        title=sentences.title(readout, language),
        start=str(readout.get("from", ""))[:10],
        end=str(readout.get("until", ""))[:10],
    )
    yield Text(span, style="bold")
    told = sentences.verdict(readout, currency, language)
    colour = _COLOURS[told.tone]
    yield Text(f"{SYMBOLS[told.tone]} {told.headline}", style=f"bold {colour}")
    if told.figures:
        yield Text(told.figures, style=colour if told.tone == "blocked" else "")
    if told.tone != "blocked":
        yield Text(sentences.groups(readout, language))
    effects = readout.get("incremental") or {}
    if effects and told.tone != "blocked":
        yield from _caused(readout, currency, language, full)
    if readout.get("attributed"):
        yield Text(_attributed(readout, currency, language))
    yield Text("")


def _caused(readout: Document, currency: str, language: str, full: bool) -> Iterator[RenderableType]:
    effects = readout["incremental"]
    heading = text("What the offers caused per customer (money in {currency}): treated minus holdout")
    shown = {name: effect for name, effect in effects.items() if full or name in MAIN}
    yield _effects(say(language, heading, currency=currency), shown, currency, language, full)
    small = sentences.small_holdout(readout, language)
    if small:
        yield Text(f"{small}.", "yellow")
    if not full:
        return
    for line in sentences.limits(readout, currency, language):
        yield Text(line)
    welch = sentences.welch(readout, currency, language)
    if welch:
        yield Text(welch, style="bright_black")
    if readout.get("triggered"):
        title = say(language, "Only those who met an offer, or would have met it")
        yield _effects(title, readout["triggered"], currency, language, full)
    for key, heading in sentences.FAMILIES.items():
        yield from _parts(readout, key, heading, currency, language)


def _effects(
    title: str, effects: Mapping[str, Document], currency: str, language: str, full: bool
) -> RenderableType:
    head = [text("verdict"), text("difference"), reading.interval_heading(effects), text("p")]
    head += [text("in %"), text("treated"), text("holdout")] if full else []
    rows = [
        (
            cells.metric_name(name, language),
            _word(name, effect, language),
            cells.difference_text(name, reading.difference(name, effect), currency, language),
            cells.interval_text(name, effect, currency, language),
            cells.p_text(effect.get("p"), language),
            cells.relative_text(name, effect, language),
            cells.value_text(name, effect["treated"]["mean"], currency, language),
            cells.value_text(name, effect["holdout"]["mean"], currency, language),
        )
        for name, effect in reading.in_order(effects)
    ]
    names = ("", *(say(language, name) for name in head))
    return _Wide(title, names, tuple(row[: len(names)] for row in rows), frozenset(range(2, 8)))


def _parts(
    readout: Document, key: str, heading: str, currency: str, language: str
) -> Iterator[RenderableType]:
    parts = reading.parts(readout, key)
    metric = (reading.decisive(readout) or ("profit",))[0]
    if not parts:
        return
    title = say(language, heading, metric=cells.metric_name(metric, language).lower())
    rows = [
        (
            sentences.part_name(part, language),
            _word(metric, effect, language),
            cells.difference_text(metric, effect.get("difference"), currency, language),
            cells.interval_text(metric, effect, currency, language),
            cells.p_text(effect.get("p"), language),
            cells.p_text(reading.part_q(part), language),
        )
        for part in parts
        for effect in (part["effect"],)
    ]
    head = (text("verdict"), text("difference"), text("interval"), text("p"), text("q"))
    names = ("", *(say(language, name) for name in head))
    yield _Wide(title, names, tuple(rows), frozenset(range(2, 6)))
    yield Text(say(language, sentences.ABOUT_Q), "bright_black")


def _word(name: str, effect: Document, language: str) -> Text:
    tone = reading.tone(name, effect)
    return Text(cells.words(sentences.verdict_word(name, effect), language), _COLOURS[tone])


def _attributed(readout: Document, currency: str, language: str) -> str:
    attributed = readout["attributed"]
    told = say_many(
        language,
        "Attributed (not caused): {n} order, {revenue}, after an opened or used offer; cost {cost}; attributed ROI: "
        "{roi}. These customers may have bought anyway.",
        "Attributed (not caused): {n} orders, {revenue}, after an opened or used offer; cost {cost}; attributed ROI: "
        "{roi}. These customers may have bought anyway.",
        attributed["n_orders"],
        revenue=f"{cells.wire_text(attributed['revenue'], language)} {currency}",
        cost=f"{cells.wire_text(attributed['cost'], language)} {currency}",
        roi=sentences.attributed_roi(readout, language),
    )
    caused = sentences.incremental_roi(readout, language)
    if not caused:
        return told
    beside = say(language, "ROI of what was caused: {roi}.", roi=caused)
    return f"{told} {beside}"


def _sheet(sheet: Sheet, currency: str, language: str) -> Iterator[RenderableType]:
    sheet = sheet.for_people()
    head = tuple(cells.words(column.heading, language) for column in sheet.columns)
    rows = tuple(
        tuple(
            cells.cell_text(cell, sheet.format(at, column), currency, language)
            for column, cell in zip(sheet.columns, row, strict=True)
        )
        for at, row in enumerate(sheet.rows)
    )
    numbers = frozenset(at for at, column in enumerate(sheet.columns) if column.format != "text")
    yield _Wide(cells.words(sheet.title, language), head, rows, numbers)
    for note in sheet.notes:
        yield Text(cells.words(note, language), "bright_black")


@dataclass(frozen=True, slots=True)
class _Wide:
    """A table that goes on below itself, with its first column again, where it is wider than the screen."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Text, ...], ...]
    numbers: frozenset[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for at, block in enumerate(self._blocks(options.max_width)):
            if at == 0:
                yield Text(self.title, style="bold")
            yield self._table(block)

    def _blocks(self, width: int) -> list[list[int]]:
        """Columns that stand beside each other."""
        widths = [self._width(at) + _GAP for at in range(len(self.head))]
        blocks: list[list[int]] = [[]]
        width -= widths[0]
        left = width
        for at in range(1, len(widths)):
            if blocks[-1] and widths[at] > left:
                blocks.append([])
                left = width
            blocks[-1].append(at)
            left -= widths[at]
        return blocks

    def _width(self, at: int) -> int:
        """Figures are never broken; a heading is, between its words, and so is a long text."""
        longest = max((cell_len(str(row[at])) for row in self.rows), default=0)
        heading = self.head[at]
        return max(
            longest if at in self.numbers else min(longest, _WIDEST),
            min(cell_len(heading), _HEADING),
            *map(cell_len, (*heading.split(), "")),
        )

    def _table(self, block: Sequence[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for at in (0, *block):
            justify: Literal["left", "right"] = "right" if at in self.numbers else "left"
            table.add_column(Text(self.head[at]), justify=justify, width=self._width(at), overflow="fold")
        for row in self.rows:
            table.add_row(
                *(Text(cell) if isinstance(cell, str) else cell for cell in (row[at] for at in (0, *block)))
            )
        return table
