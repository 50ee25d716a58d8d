"""How a document of `measure --json` is read: which effect decides, what a verdict is, what a cost is no win of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nextoffer.measurement import cells
from nextoffer.measurement.effect import ALPHA
from nextoffer.texts import text

Document = Mapping[str, Any]
Tone = Literal["win", "loss", "unknown", "blocked", "more", "less", "counted"]
SYMBOLS: dict[str, str] = {
    "win": "▲",
    "loss": "▼",
    "unknown": "○",
    "blocked": "✕",
    "more": "▲",
    "less": "▼",
    "counted": "=",
}
_DECISIVE = ("profit", "margin", "revenue")  # the first that was measured gives the verdict


def readouts(document: Document) -> Sequence[Document]:
    """The experiments of a document; one that holds a single experiment is that one."""
    if "experiments" in document:
        return tuple(document["experiments"])
    return (document,) if "checks" in document else ()


def decisive(readout: Document) -> tuple[str, Document] | None:
    """The metric the verdict rests on."""
    effects = readout.get("incremental") or {}
    return next(((name, effects[name]) for name in _DECISIVE if name in effects), None)


def in_order(effects: Mapping[str, Document]) -> list[tuple[str, Document]]:
    """The metrics from what decides to what explains."""
    known = [name for name in cells.METRICS if name in effects]
    return [(name, effects[name]) for name in (*known, *(name for name in effects if name not in known))]


def parts(readout: Document, family: str) -> list[Document]:
    """The parts of a family that were measured."""
    return [part for part in readout.get(family) or () if part.get("effect")]


def interval_heading(effects: Mapping[str, Document]) -> str:
    """What the intervals of effects are called: at a planned look they are wider than 95 %."""
    alike = all(abs(effect.get("alpha", ALPHA) - ALPHA) < 1e-9 for effect in effects.values())
    return text("95 % interval") if alike else text("interval")


def part_q(part: Document) -> float | None:
    """What is left of a part's effect once all parts were looked at."""
    q: float | None = part.get("q", part["effect"].get("q"))
    return q


def tone(name: str, effect: Document) -> Tone:
    """What an effect's verdict is coloured as, and which symbol it has."""
    told = effect["verdict"]
    if is_counted(name, effect):
        return "counted"
    if told not in ("win", "loss"):
        return "unknown"
    if name in cells.COSTS:
        return "more" if told == "win" else "less"
    return "win" if told == "win" else "loss"


def difference(name: str, effect: Document) -> float | None:
    """An effect's size; of costs that the holdout cannot have, what was counted."""
    size: float | None = effect.get("difference")
    return effect["treated"]["mean"] - effect["holdout"]["mean"] if is_counted(name, effect) else size


def is_counted(name: str, effect: Document) -> bool:
    """Costs of offers are nobody's guess: that few or none of the held-out have any is no lack of data."""
    return name in cells.COSTS and effect.get("difference") is None
