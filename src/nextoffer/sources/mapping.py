"""Which source column becomes which canonical column, or every fault of the mapping at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from nextoffer.config import Source
from nextoffer.domain.tables import Table
from nextoffer.errors import ConfigError
from nextoffer.sources.files import Origin

# Named in the orders' mapping, these feed the products table where the shop has none.
PRODUCT_EXTRAS = ("title", "category", "brand", "url", "image_url")


def mapping_of(table: Table, source: Source, origin: Origin) -> dict[str, str]:
    """{canonical column: source column} from `columns` and from canonical names the source itself uses.

    Raises
    ------
    ConfigError : an unknown canonical name, a column the source lacks, a required one that is not mapped.
    """
    extras = PRODUCT_EXTRAS if table.name == "orders" else ()
    known = [*(column.name for column in table.columns), *extras]
    faults: list[str] = []
    chosen: dict[str, str] = {}
    for name, column in source.columns.items():
        if name not in known:
            faults.append(
                f"columns.{name}: unknown column{_near(name, known)}; {table.name} has {', '.join(known)}"
            )
        elif (found := _find(column, origin.columns)) is None:
            faults.append(
                f"columns.{name}: {origin.name} has no column {column!r}{_near(column, origin.columns)}"
            )
        else:
            chosen[name] = found
    own = [name for name in known if name not in source.columns and name in origin.columns]
    chosen |= dict(zip(own, own, strict=True))
    for needed in table.columns:
        if needed.required and needed.name not in chosen and needed.name not in source.columns:
            near = _near(needed.name, [name for name in origin.columns if name not in chosen.values()])
            faults.append(f"columns.{needed.name} is not mapped: which column holds {needed.meaning}?{near}")
    if faults:
        faults.append(f"{origin.name} has the columns: {', '.join(origin.columns)}")
        raise ConfigError(f"[history.{table.name}] in nextoffer.toml", faults)
    return chosen


def _find(column: str, columns: Iterable[str]) -> str | None:
    """The column of that name; spaces around it and upper case do not matter if only one fits."""
    columns = list(columns)
    if column in columns:
        return column
    alike = [name for name in columns if name.strip().casefold() == column.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def _near(word: str, known: Iterable[str]) -> str:
    """The nearest name, compared without case and signs."""
    plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(word), list(plain), n=1, cutoff=0.4)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
