"""The same A/A test on anybody's spend column: how often nextoffer and Welch's test claim what is not there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.aa.judge import Judge, repeated
from benchmarks.aa.lines import share, share_of
from benchmarks.aa.worlds import Floats, Pool
from benchmarks.quality.lines import say

if TYPE_CHECKING:
    import pyarrow as pa

LIFT = 0.20
DIGITS = 5


class BadSpendError(ValueError):
    """The file, or what is asked of it, cannot be used; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a sceptic asks for."""

    path: Path
    column: str
    before: str | None
    holdout_share: float
    reps: int
    n_permutations: int
    workers: int


def own_figures(own: Own) -> dict[str, Any]:
    """Rates of false verdicts where nobody is treated, and the coverage of an effect of +20 % planted after.

    Raises
    ------
    BadSpendError : the file or a column cannot be used.
    """
    names = [own.column] if own.before is None else [own.column, own.before]
    columns = _columns(own.path, names)
    spend, before = columns[own.column], columns[own.before] if own.before else None
    n_holdout = round(own.holdout_share * len(spend))
    if min(n_holdout, len(spend) - n_holdout) < 2:
        raise BadSpendError(
            f"{len(spend)} customers with a holdout share of {own.holdout_share:g} leave "
            f"{len(spend) - n_holdout} treated and {n_holdout} held out: each group needs 2"
        )
    if not spend.any():
        raise BadSpendError(f"{own.path.name}: every value of {own.column!r} is 0: nobody bought anything")
    judge = Judge(Pool.of(spend, own.holdout_share, before), LIFT, own.n_permutations, tea=False)
    found = repeated(judge, (7,), own.reps, own.workers, lambda done: say(f"{done:,} of {own.reps:,} runs"))
    return _figures(found, spend, n_holdout, own)


def _figures(found: dict[str, Floats], spend: Floats, n_holdout: int, own: Own) -> dict[str, Any]:
    n_buyers = int(np.count_nonzero(spend > 0))
    asked = {
        "false_wins": share_of(found["verdict"], 1),
        "false_losses": share_of(found["verdict"], -1),
        "coverage": found["covers"],
    }
    theirs = {
        "false_wins": share_of(found["welch"], 1),
        "false_losses": share_of(found["welch"], -1),
        "coverage": found["welch_covers"],
    }
    ours, welch = ({name: share(of) for name, of in figures.items()} for figures in (asked, theirs))
    no_verdict = float(found["n_refused"].mean())
    if no_verdict > 0.5:
        expected = n_buyers * n_holdout / len(spend)
        print(
            f"{no_verdict:.1%} of the runs had too few buyers for a verdict: {n_buyers:,} buyers, "
            f"about {expected:.1f} of them held out",
            file=sys.stderr,
        )
    return {
        **{name: _rounded(figure[0]) for name, figure in ours.items()},
        "welch": {
            **{name: _rounded(figure[0]) for name, figure in welch.items()},
            "standard_errors": {name: _rounded(figure[1]) for name, figure in welch.items()},
        },
        "no_verdict": _rounded(no_verdict),
        "standard_errors": {name: _rounded(figure[1]) for name, figure in ours.items()},
        "reps": own.reps,
        "permutations": own.n_permutations,
        "lift": LIFT,
        "holdout_share": own.holdout_share,
        "n": len(spend),
        "n_holdout": n_holdout,
        "n_buyers": n_buyers,
        "cuped": own.before is not None,
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, DIGITS)


def _columns(path: Path, names: list[str]) -> dict[str, Floats]:
    """(n,) numbers of each column of a Parquet or CSV file."""
    if not path.is_file():
        raise BadSpendError(f"{path}: no such file")
    read = _csv if path.suffix.lower() in (".csv", ".txt") else _parquet
    try:
        table = read(path, names)
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors or OSErrors
        if isinstance(error, BadSpendError):
            raise
        raise BadSpendError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return {name: _numbers(path, name, table[name]) for name in names}


def _parquet(path: Path, names: list[str]) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    _there(path, names, file.schema_arrow.names)
    return file.read(columns=names)


def _csv(path: Path, names: list[str]) -> pa.Table:
    from pyarrow import csv

    with csv.open_csv(path) as reader:
        _there(path, names, reader.schema.names)
    return csv.read_csv(path, convert_options=csv.ConvertOptions(include_columns=names))


def _there(path: Path, names: list[str], have: list[str]) -> None:
    for name in names:
        if have.count(name) != 1:
            count = "two columns" if name in have else "no column"
            raise BadSpendError(f"{path.name} has {count} {name!r}; its columns are {', '.join(have)}")


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> Floats:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise BadSpendError(f"{path.name}: column {name!r} holds {kind}, not numbers")
    values: Floats = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad) > 0:
        raise BadSpendError(
            f"{path.name}: column {name!r} has {len(bad):,} missing or infinite values, first in row "
            f"{bad[0] + 1:,}: write 0 for a customer who bought nothing"
        )
    if len(values) < 2:
        raise BadSpendError(f"{path.name} has {len(values)} customers: 2 or more are needed in each group")
    return values
