"""The quality table as a person reads it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.quality.lines import Line
from rich.table import Table
from rich.text import Text

COLUMNS = ("task", "split", "metric", "ours", "target", "peer", "theirs", "ratio [low, high]", "gate", "")
LEFT = ("task", "split", "metric", "peer")


def table(lines: Sequence[Line]) -> Table:
    """One row per line; task, split, metric, ours and target only where they change."""
    drawn = Table(title="Decision quality, beside every peer in the same run", title_justify="left")
    for name in COLUMNS:
        justify = "left" if name in LEFT else "right"
        drawn.add_column(name, justify=justify, overflow="fold")
    for _, task in groupby(lines, key=lambda line: line.task):
        before: Line | None = None
        for line in task:
            drawn.add_row(*cells(line, before))
            before = line
        drawn.add_section()
    return drawn


def cells(line: Line, before: Line | None = None) -> list[str | Text]:
    """The ten cells of a line; blank where the line above it, of the same task, says the same."""
    same_split = before is not None and before.split == line.split
    same = same_split and before is not None and (before.metric, before.ours) == (line.metric, line.ours)
    again = before is not None and same and before.target == line.target
    return [
        "" if before else line.task,
        "" if same_split else line.split,
        "" if same else line.metric,
        "" if same else figure(line.ours),
        "" if again else _target(line),
        line.peer or "",
        figure(line.theirs),
        ratio(line),
        gate(line),
        verdict(line),
    ]


def figure(value: float | None) -> str:
    """Three decimals, four below .01, one from 10 on."""
    if value is None:
        return ""
    decimals = 1 if abs(value) >= 10 else 4 if 0 < abs(value) < 0.01 else 3
    return f"{value:,.{decimals}f}"


def ratio(line: Line) -> str:
    """Ours ÷ theirs with its interval, where there is one."""
    if line.ratio is None:
        return ""
    if line.low is None or line.high is None:
        return f"{line.ratio:.3f}"
    return f"{line.ratio:.3f} [{line.low:.3f}, {line.high:.3f}]"


def gate(line: Line) -> str:
    """What the ratio must be."""
    if line.gate is None:
        return ""
    return f"{'≤' if line.low_is_good else '≥'} {line.gate:.3f}"


def verdict(line: Line) -> Text:
    """Pass or miss, nothing where the line only informs."""
    if line.passed is None:
        return Text("")
    return Text("pass", style="green") if line.passed else Text("MISS", style="bold red")


def _target(line: Line) -> Text:
    if line.target is None:
        return Text("")
    text = figure(line.target)
    return Text(f"{text} ✓", style="green") if line.reached else Text(f"{text} ✗", style="red")


def summary(lines: Sequence[Line], skipped: Mapping[str, str], failed: Mapping[str, str]) -> list[str]:
    """What the table comes to: gates passed, targets reached, what was missed, what is not in it."""
    gates = [line for line in lines if line.passed is not None]
    goals = {(line.task, line.split, line.metric): line.reached for line in lines if line.reached is not None}
    texts = [
        f"{sum(line.passed is True for line in gates)} of {len(gates)} gates passed, "
        f"{sum(map(bool, goals.values()))} of {len(goals)} targets reached"
    ]
    texts += [f"missed: {named(line)}" for line in gates if not line.passed]
    texts += [f"skipped: {name}, {why}" for name, why in skipped.items()]
    return texts + [f"failed: {name}, {why}" for name, why in failed.items()]


def named(line: Line) -> str:
    """A line in words."""
    words = f"{line.task}, {line.split}, {line.metric}: {figure(line.ours)}"
    if line.gate is None:
        return words
    return f"{words}, {ratio(line)} × {line.peer}, gate {gate(line)}"


def write_json(path: Path, lines: Sequence[Line], about: Mapping[str, Any]) -> None:
    """The same lines for a program, after `about`."""
    document = {**about, "lines": [line.to_json() for line in lines]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
