"""A table of figures as every reader gets it: the terminal, the page, JSON and pandas draw the same sheet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from nextoffer.domain.money import to_wire

Format = Literal[
    "key", "text", "count", "money", "average", "number", "share", "change", "days", "date", "row"
]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name for programs, its heading (an English text, to be said), and how its cells are written.

    `money` cells are exact minor units, `average` cells minor units that need not be whole; `share` 0.1 reads 10 %,
    `change` 0.5 reads +50 %; `days` and `number` need not be whole; a `date` is "2026-05-01". A `row` column holds
    another thing in each row (a list of KPIs): its cells are written as the sheet's `formats` say. A `key` names the
    row for programs and is not shown to people; `text` cells and notes that are `Said` are said in the reader's
    language, others stand as they are. A cell that cannot be said is None.
    """

    name: str
    heading: str
    format: Format = "text"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table of a report: (n rows) × (n columns) cells, and what must be known to read it.

    `formats` : (n rows) how the cells of `row` columns are written; empty if there is no such column.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()

    def format(self, row: int, column: Column) -> Format:
        """How the cell of a row and a column is written."""
        return self.formats[row] if column.format == "row" else column.format

    def for_people(self) -> Sheet:
        """Without the columns that only name rows for programs."""
        shown = [at for at, column in enumerate(self.columns) if column.format != "key"]
        return replace(
            self,
            columns=tuple(self.columns[at] for at in shown),
            rows=tuple(tuple(row[at] for at in shown) for row in self.rows),
        )

    def records(self, currency: str) -> list[dict[str, Any]]:
        """The rows as JSON-able dictionaries: sums of money are decimal strings, averages numbers of currency."""
        return [
            {
                column.name: plain(cell, self.format(at, column), currency)
                for column, cell in zip(self.columns, row, strict=True)
            }
            for at, row in enumerate(self.rows)
        ]


def plain(cell: Cell, format: Format, currency: str) -> Cell:
    """A cell as JSON holds it."""
    if cell is None or isinstance(cell, str):
        return cell
    if format == "money":
        return to_wire(round(cell), currency)
    if format == "average":
        return float(to_wire(round(cell * 100), currency)) / 100
    return cell
