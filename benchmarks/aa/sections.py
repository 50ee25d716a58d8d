"""The sections of the A/A benchmark: which worlds are judged, and what is asked of the figures.

Rates are among the runs with a verdict: a run refused for too few buyers claims nothing, so it stands in no rate,
neither to hide false claims nor to dilute them. Runs are made until there are as many verdicts as repetitions; the
share refused on the way is a line of its own. Welch and tea-tasting refuse nothing: their rates are among all runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aa.cost import cost_lines
from benchmarks.aa.judge import Judge, repeated
from benchmarks.aa.lines import Line, share, share_of
from benchmarks.aa.peeking import peeking_lines
from benchmarks.aa.worlds import Floats, RareBuyers, World, hillstrom, online_retail

SIZE = 0.018, 0.033  # of each side, where 2.5 % is aimed at
COVERAGE = 0.935, 0.965
SHAPE_SIZE = 0.055  # of each side, where the offer changes the shape of baskets only
CUPED_POWER = 0.30
LIFT, CUPED_LIFT = 0.20, 0.40
EXPECTED = 10, 30, 100  # buyers held out
WIDER = 1.25, 0.8  # the log-standard deviation of the treated's baskets, over the holdout's
TRIES = 1_000  # runs in which a verdict is sought


@dataclass(frozen=True, slots=True)
class Asked:
    """How much is to be done, and by how many processes."""

    reps: int
    n_permutations: int
    workers: int


HILLSTROM, ONLINE_RETAIL = "hillstrom/hillstrom.parquet", "online_retail/online_retail.parquet"


def hillstrom_lines(data: Path, asked: Asked) -> list[Line]:
    """Real spend, split anew each time."""
    lines = []
    for at, held in enumerate((10, 5)):
        case = f"{100 - held}/{held}"
        lines += _nothing_and_lift("hillstrom", case, hillstrom(data, held / 100), (1, at), asked)
    return lines


def rare_lines(_: Path, asked: Asked) -> list[Line]:
    """Made-up buyers, 95/5."""
    lines = []
    for at, expected in enumerate(EXPECTED):
        case = f"{expected} buyers held out"
        lines += _nothing_and_lift("rare buyers, 95/5", case, RareBuyers(expected), (2, at), asked)
    return lines


def shape_lines(_: Path, asked: Asked) -> list[Line]:
    """The offer changes how baskets vary and not what they are worth: any claim is false."""
    lines = []
    for at, (wider, expected) in enumerate((w, e) for w in WIDER for e in EXPECTED):
        world = RareBuyers(expected, wider=wider)
        found = repeated(_judge(world, None, asked), (3, at), asked.reps, asked.workers)
        case = f"log-sd {wider - 1:+.0%}, {expected} held out"
        lines += _false("shape only, 95/5", case, found, (None, SHAPE_SIZE))
    return lines


def cuped_lines(data: Path, asked: Asked) -> list[Line]:
    """Online Retail, with and without the quarter before. Half of the lines' runs see each repetition's world."""
    world = online_retail(data, 0.1)
    plain, adjusted = (
        repeated(
            Judge(world, CUPED_LIFT, asked.n_permutations, TRIES, with_past), (4,), asked.reps, asked.workers
        )
        for with_past in (False, True)
    )
    section, lines = "online retail, 90/10", []
    for case, found, least in (("plain", plain, None), ("CUPED", adjusted, CUPED_POWER)):
        lines += _false(section, case, found, SIZE)
        lines.append(_line(section, case, "wins at +40 %", found, "planted", 1, least))
        lines += _coverage(section, case, found, "+40 %", None)
    return lines


def _nothing_and_lift(section: str, case: str, world: World, key: Sequence[int], asked: Asked) -> list[Line]:
    found = repeated(_judge(world, LIFT, asked), key, asked.reps, asked.workers)
    refused = float(found["n_refused"].sum())
    no_verdict = refused / (refused + float((found["verdict"] == found["verdict"]).sum()))
    return [
        Line(section, case, "no verdict", no_verdict),
        *_false(section, case, found, SIZE),
        *_coverage(section, case, found, "+20 %", COVERAGE),
        _line(section, case, "wins at +20 %", found, "planted", 1),
    ]


def _judge(world: World, lift: float | None, asked: Asked) -> Judge:
    return Judge(world, lift, asked.n_permutations, TRIES)


def _false(
    section: str, case: str, found: dict[str, Floats], gate: tuple[float | None, float | None]
) -> list[Line]:
    return [
        _line(section, case, name, found, "", sign, *gate)
        for name, sign in (("false wins", 1), ("false losses", -1))
    ]


def _line(
    section: str,
    case: str,
    figure: str,
    found: dict[str, Floats],
    planted: str,
    sign: int,
    low: float | None = None,
    high: float | None = None,
) -> Line:
    ours, others = ("planted_verdict", "_planted") if planted else ("verdict", "")
    return Line(
        section,
        case,
        figure,
        *share(share_of(found[ours], sign)),
        low,
        high,
        welch=share(share_of(found[f"welch{others}"], sign))[0],
        tea_tasting=share(share_of(found[f"tea{others}"], sign))[0],
    )


def _coverage(
    section: str, case: str, found: dict[str, Floats], lift: str, gate: tuple[float, float] | None
) -> list[Line]:
    ours = share(found["covers"])
    others = share(found["welch_covers"])[0], share(found["tea_covers"])[0]
    own = share(found["covers_own"])
    return [
        Line(section, case, f"coverage at {lift}", *ours, *(gate or (None, None)), *others),
        Line(section, case, "… of the treated's own", *own),
    ]


SECTIONS: dict[str, tuple[Callable[[Path, Asked], list[Line]], tuple[str, ...]]] = {
    "hillstrom": (hillstrom_lines, (HILLSTROM,)),
    "rare": (rare_lines, ()),
    "shape": (shape_lines, ()),
    "cuped": (cuped_lines, (ONLINE_RETAIL,)),
    "peeking": (peeking_lines, ()),
    "cost": (cost_lines, ()),
}
"""Each with the files of DATA it reads."""
