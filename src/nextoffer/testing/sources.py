"""The contract of sources."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nextoffer.config import History, Settings, Source
from nextoffer.errors import NextOfferError
from nextoffer.sources.opening import Opener
from nextoffer.testing.refusing import refuse_if


def check_source(
    open_source: Opener, source: Source, table: str = "orders", settings: Settings | None = None
) -> None:
    """Open a source twice and read it through the shop's own checks, as `nextoffer check` does.

    Parameters
    ----------
    source : a `[history.…]` section that stands for some rows; `table` is the canonical table they are of

    Raises
    ------
    AssertionError : its columns, rows or row numbers are not in order, or its rows are all refused
    """
    from nextoffer.sources.load import load_table

    with TemporaryDirectory() as folder:
        first, again = (_staged(open_source, source, Path(folder) / turn) for turn in ("first", "again"))
        refuse_if(first != again, "it gives other rows when opened again")
        _, rows = first
        refuse_if(not rows, "it has no row")
        numbers = [row[0] for row in rows]
        refuse_if(
            len(set(numbers)) < len(rows) or min(numbers) < 1, "its column `row` does not number its rows"
        )
        orders = source if table == "orders" else Source(path="-")
        history = History(**{"orders": orders, table: source})
        usual = Settings(currency="EUR", history=history, max_reject_share=1.0)
        shop = usual if settings is None else settings.model_copy(update={"history": history})
        try:
            report = load_table(shop, table, Path(folder) / "out", open_source)
        except NextOfferError as error:
            raise AssertionError(f"its rows cannot be read as {table}: {error}") from error
        counted = report.accepted + report.rejected + report.excluded
        refuse_if(report.read != counted, f"{report.read} rows were read, {counted} accounted for")
        refuse_if(
            report.accepted == 0, f"all its {report.read} rows are refused: {dict(report.rejected_by_rule)}"
        )


def _staged(
    open_source: Opener, source: Source, scratch: Path
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows of a source, as its SQL gives them."""
    import duckdb

    from nextoffer.sources.files import Origin

    scratch.mkdir()
    try:
        origin = open_source(source, scratch)
        refuse_if(not isinstance(origin, Origin), f"it returned {type(origin).__name__}, not an Origin")
        names = origin.columns
        refuse_if(
            not names or len(set(names)) < len(names), f"its columns {names} are not each of another name"
        )
        staged = origin.stage(list(names))
        rows = duckdb.sql(f"SELECT * FROM ({staged.sql}) ORDER BY row").fetchall()
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"it raised {type(error).__name__}: {error}") from error
    counted = len(rows) + len(staged.malformed)
    refuse_if(staged.read != counted, f"it says it has {staged.read} rows, and has {counted}")
    return names, rows
