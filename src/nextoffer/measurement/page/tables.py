"""Tables of the page: those of an experiment, and any sheet of figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from nextoffer.domain.money import minor_digits
from nextoffer.measurement import cells
from nextoffer.measurement.page import charts
from nextoffer.measurement.page.markup import Child, Html, el
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import say_many

_HEAT = 4  # columns of shares from which a table is read as a map
_SEEN = 0.0005  # a change that is not said as 0
_ALL = "all"  # the key of a row that sums the others
_TEXTS = 3  # columns of text from which a table is read as prose
# The one amount of a sheet that is drawn too.
_BARS = {"segments": "revenue", "reward_types": "income", "campaigns": "revenue"}


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Child]],
    numbers: Collection[int] = (),
    kind: str | None = None,
) -> Html:
    """A table in a box of its own, which scrolls where it is wider than the page."""
    top = el("tr", [_head(name, at in numbers) for at, name in enumerate(head)])
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            [_cell(cell, at in numbers) for at, cell in enumerate(row[1:], 1)],
        )
        for row in rows
    ]
    return _box(el("table", el("thead", top), el("tbody", body)), "", kind)


def sheet_section(sheet: Sheet, currency: str, language: str, drawn: bool, most: int) -> Html:
    """A sheet under its title: a picture where that says more, the figures, and what one must know."""
    parts = tuple(row for row in sheet.rows[:most] if row[0] != _ALL)
    picture = _picture(replace(sheet, rows=parts).for_people(), currency, language) if drawn else None
    sheet = sheet.for_people()
    rows = sheet.rows[:most]
    inside = el(
        "table", el("thead", _heads(sheet, language)), el("tbody", _rows(sheet, rows, currency, language))
    )
    kind = "heat" if _heat(sheet) else "long" if _prose(sheet) else None
    boxed = _box(inside, cells.words(sheet.title, language), kind)
    return el(
        "section",
        el("h2", cells.words(sheet.title, language), id=f"table-{sheet.name}"),
        el("div", picture, boxed, class_="side") if picture else boxed,
        [el("p", cells.words(note, language), class_="note") for note in sheet.notes],
        _more(len(sheet.rows) - most, language),
    )


def _more(n: int, language: str) -> Html | None:
    if n <= 0:
        return None
    left = say_many(
        language,
        "{n} more row is left out here; `nextoffer measure --json` holds all.",
        "{n} more rows are left out here; `nextoffer measure --json` holds all.",
        n,
    )
    return el("p", left, class_="note")


def _box(inside: Html, label: str, kind: str | None = None) -> Html:
    """Reachable by keyboard, because it may have to be scrolled."""
    name = f"box {kind}" if kind else "box"
    return el(
        "div", inside, class_=name, tabindex="0", role="region" if label else None, aria_label=label or None
    )


def _heads(sheet: Sheet, language: str) -> Html:
    names = [cells.words(column.heading, language) for column in sheet.columns]
    numbers = [at > 0 and column.format != "text" for at, column in enumerate(sheet.columns)]
    return el("tr", [_head(name, number) for name, number in zip(names, numbers, strict=True)])


def _rows(sheet: Sheet, rows: Sequence[Sequence[Cell]], currency: str, language: str) -> list[Html]:
    shade = _shading(sheet, rows) if _heat(sheet) else None
    made = []
    for at, row in enumerate(rows):
        children = []
        for place, (column, cell) in enumerate(zip(sheet.columns, row, strict=True)):
            told = cells.cell_text(cell, sheet.format(at, column), currency, language)
            if place == 0:
                children.append(el("th", told, scope="row"))
            else:
                children.append(_figure(column, cell, told, shade))
        made.append(el("tr", children))
    return made


def _figure(column: Column, cell: Cell, told: str, shade: Callable[[Cell], str] | None) -> Html:
    if column.name == "change" and isinstance(cell, int | float):
        sign = "▲" if cell >= _SEEN else "▼" if cell <= -_SEEN else "="
        return el("td", f"{sign} {told}", class_="n")
    if column.format == "share" and shade is not None:
        return el("td", told, class_="n", style=shade(cell))
    return _cell(told, column.format != "text")


def _cell(told: Child, number: bool) -> Html:
    return el("td", told, class_="n" if number else None)


def _head(name: str, number: bool) -> Html:
    return el("th", name, scope="col", class_="n" if number else None)


def _heat(sheet: Sheet) -> bool:
    return sum(column.format == "share" for column in sheet.columns) >= _HEAT


def _prose(sheet: Sheet) -> bool:
    return sum(column.format == "text" for column in sheet.columns) >= _TEXTS


def _shading(sheet: Sheet, rows: Sequence[Sequence[Cell]]) -> Callable[[Cell], str] | None:
    """A blue that deepens with the share, never so deep that dark text is lost on it; the first period, where all
    are there, does not set the scale."""
    shares = [
        cell
        for row in rows
        for column, cell in zip(sheet.columns, row, strict=True)
        if column.format == "share" and isinstance(cell, int | float) and cell < 1
    ]
    top = max(shares, default=0.0)

    def shade(cell: Cell) -> str:
        if not isinstance(cell, int | float) or top <= 0:
            return "background:#fff"
        part = min(1.0, cell / top)
        red, green, blue = (round(255 + (end - 255) * part) for end in (125, 185, 232))
        return f"background:#{red:02x}{green:02x}{blue:02x}"

    return shade


def _picture(sheet: Sheet, currency: str, language: str) -> Html | None:
    """Bars of the one amount that matters, for the sheets known to have one."""
    rows = sheet.rows
    names = [column.name for column in sheet.columns]
    wanted = _BARS.get(sheet.name)
    if wanted not in names or len(rows) < 2:
        return None
    at = names.index(wanted)
    column = sheet.columns[at]
    labels = _labels(sheet, currency, language)
    values = [
        (label, row[at]) for label, row in zip(labels, rows, strict=True) if isinstance(row[at], int | float)
    ]
    if not values or len(set(labels)) < len(labels):
        return None
    is_money = column.format in ("money", "average")
    unit = 10 ** minor_digits(currency) if is_money else 1
    heading = cells.words(column.heading, language)
    told = "; ".join(
        f"{name} {cells.cell_text(cell, column.format, currency, language)}" for name, cell in values
    )
    drawn = tuple((name, float(cell) / unit) for name, cell in values if isinstance(cell, int | float))
    return charts.bars(drawn, told, f"{heading}, {currency}" if is_money else heading, ",.0f", language)


def _labels(sheet: Sheet, currency: str, language: str) -> list[str]:
    """The first column, and the second too where the first does not tell the rows apart."""
    told = [
        [
            cells.cell_text(cell, sheet.format(at, column), currency, language)
            for cell, column in zip(row, sheet.columns, strict=True)
        ]
        for at, row in enumerate(sheet.rows)
    ]
    first = [row[0] for row in told]
    return first if len(set(first)) == len(first) else [", ".join(row[:2]) for row in told]
