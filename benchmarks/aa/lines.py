"""One figure of the A/A table, its gate, and the table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.aa.worlds import Floats
from rich.table import Table
from rich.text import Text

COLUMNS = ("section", "case", "figure", "nextoffer", "gate", "Welch", "tea-tasting", "")


@dataclass(frozen=True, slots=True)
class Line:
    """A figure with its Monte-Carlo standard error; `low` to `high` is the gate, None where it only informs.

    `value` is None where it could not be had; with a gate that is a miss.
    """

    section: str
    case: str
    figure: str
    value: float | None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    welch: float | None = None
    tea_tasting: float | None = None
    unit: str = "share"

    @property
    def passed(self) -> bool | None:
        """Whether the figure lies within its gate, None without one."""
        if self.low is None and self.high is None:
            return None
        if self.value is None:
            return False
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self) | {"passed": self.passed}


def share(of: Floats) -> tuple[float | None, float | None]:
    """The mean of zeros and ones and its standard error; what is not a number was not asked."""
    known = of[~np.isnan(of)]
    if len(known) == 0:
        return None, None
    mean = float(known.mean())
    return mean, float(np.sqrt(mean * (1 - mean) / len(known)))


def share_of(verdicts: Floats, sign: float) -> Floats:
    """(R,) 1 where the verdict is this one, 0 where it is another, not a number where there is none."""
    return np.where(np.isnan(verdicts), np.nan, verdicts == sign)


def table(lines: Iterable[Line]) -> Table:
    """One row per line; section and case only where they change."""
    drawn = Table(title="A/A: what is claimed where nothing is, and found where something is")
    drawn.title_justify = "left"
    for name in COLUMNS:
        left = name in ("section", "case", "figure")
        drawn.add_column(name, justify="left" if left else "right", overflow="fold")
    for section, rows in groupby(lines, key=lambda line: line.section):
        shown, last = section, None
        for line in rows:
            drawn.add_row(shown, line.case if line.case != last else "", *_cells(line))
            shown, last = "", line.case
        drawn.add_section()
    return drawn


def _cells(line: Line) -> list[str | Text]:
    verdict = Text("")
    if line.passed is not None:
        verdict = Text("pass", style="green") if line.passed else Text("MISS", style="bold red")
    return [line.figure, figure(line), gate(line), *(_text(line, v) for v in _others(line)), verdict]


def _others(line: Line) -> tuple[float | None, float | None]:
    return line.welch, line.tea_tasting


def _text(line: Line, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f} %" if line.unit == "share" else f"{value:.2f} {line.unit}"


def figure(line: Line) -> str:
    """The figure and its standard error."""
    if line.value is None:
        return "none"
    error = "" if line.stderr is None else f" ± {100 * line.stderr:.2f}"
    return _text(line, line.value) + error


def gate(line: Line) -> str:
    """Where the figure must lie."""
    low, high = (_text(line, end).removesuffix(" %") for end in (line.low, line.high))
    if low and high:
        return f"{low} to {high}"
    return f"≥ {low}" if low else f"≤ {high}" if high else ""


def summary(lines: Sequence[Line], skipped: Mapping[str, str]) -> list[str]:
    """What the table comes to."""
    gates = [line for line in lines if line.passed is not None]
    texts = [f"{sum(line.passed is True for line in gates)} of {len(gates)} gates passed"]
    texts += [
        f"missed: {line.section}, {line.case}, {line.figure}: {figure(line)}, gate {gate(line)}"
        for line in gates
        if not line.passed
    ]
    return texts + [f"skipped: {name}, {why}" for name, why in skipped.items()]


def write_json(path: Path, lines: Sequence[Line], about: Mapping[str, Any]) -> None:
    """The same lines for a program, after `about`."""
    document = {**about, "lines": [line.to_json() for line in lines]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
