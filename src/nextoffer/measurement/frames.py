"""A measurement in pandas: one row per outcome, and every table of figures as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from nextoffer.measurement.effect import Effect
from nextoffer.measurement.readout import Readout
from nextoffer.measurement.sheet import Cell, Format, Sheet

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("treated", "holdout", "difference", "low", "high", "p")
_COUNTS = ("n_treated", "n_holdout", "buyers_treated", "buyers_holdout")
EFFECTS = pa.schema(
    [
        *((name, pa.string()) for name in ("experiment", "outcome")),
        *((name, pa.float64()) for name in _NUMBERS),
        ("verdict", pa.string()),
        *((name, pa.int64()) for name in _COUNTS),
        ("n_more", pa.float64()),
    ]
)


def effects_frame(readouts: tuple[Readout, ...]) -> pd.DataFrame:
    """EFFECTS: one row per experiment and outcome; what cannot be said is missing."""
    rows = [_row(readout.look.name, name, effect) for readout in readouts for name, effect in readout.effects]
    frame: pd.DataFrame = pa.Table.from_pylist(rows, schema=EFFECTS).to_pandas()
    return frame


def sheet_frame(sheet: Sheet, currency: str) -> pd.DataFrame:
    """A table of figures; money is in currency units, shares and changes are fractions, dates are texts."""
    import pandas as pd

    rows = [
        {column.name: _cell(sheet.format(at, column), row[column.name]) for column in sheet.columns}
        for at, row in enumerate(sheet.records(currency))
    ]
    return pd.DataFrame(rows, columns=[column.name for column in sheet.columns])


def _cell(format: Format, value: Cell) -> Cell:
    return float(value) if format == "money" and value is not None else value


def _row(experiment: str, name: str, effect: Effect) -> dict[str, object]:
    return {
        "experiment": experiment,
        "outcome": name,
        "treated": effect.treated.mean,
        "holdout": effect.holdout.mean,
        **{key: getattr(effect, key) for key in ("difference", "low", "high", "p", "verdict", "n_more")},
        "n_treated": effect.treated.n,
        "n_holdout": effect.holdout.n,
        "buyers_treated": effect.treated.n_buyers,
        "buyers_holdout": effect.holdout.n_buyers,
    }
