"""How often an experiment without any effect is called a win: nextoffer beside Welch's test and tea-tasting.

    python -m benchmarks.bench_aa DATA [--sections NAME …] [--reps N] [--json FILE]
    python -m benchmarks.bench_aa --spend FILE --column NAME [--before NAME] --holdout-share S --reps R --json

The first judges public spend from the folder DATA and made-up rare buyers: false wins and losses, the coverage of the
interval, offers that change the shape of baskets only, CUPED, looking twenty times, and CPU seconds, each with its
gate. The second runs the same A/A test on a column of your own, a row per customer, zeros included (Parquet or
CSV), and prints one JSON object. A missed gate is a finding, not an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.aa.lines import Line, summary, table, write_json
from benchmarks.aa.own import BadSpendError, Own, own_figures
from benchmarks.aa.sections import SECTIONS, Asked
from benchmarks.quality.__main__ import about
from benchmarks.quality.lines import say
from rich.console import Console

WIDTH = 150  # where stdout is no terminal
LEAST_PERMUTATIONS = 199
ALONE = "-"  # --json without a file


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        self.exit(2, f"bench_aa: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the one form or the other."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    _check(parser, asked)
    if asked.spend is not None:
        return _own(parser, asked)
    return _all(parser, asked)


def _own(parser: Parser, asked: argparse.Namespace) -> int:
    own = Own(
        asked.spend,
        asked.column,
        asked.before,
        asked.holdout_share,
        asked.reps,
        asked.permutations,
        asked.workers,
    )
    try:
        figures = own_figures(own)
    except BadSpendError as error:
        parser.error(str(error))
    text = json.dumps(figures, allow_nan=False)
    print(text)
    if asked.json not in (None, ALONE):
        Path(asked.json).write_text(text + "\n", "utf-8")
    return 0


def _all(parser: Parser, asked: argparse.Namespace) -> int:
    if asked.json == ALONE:
        parser.error("--json needs a file to write, unless --spend is given")
    lines, skipped, failed, seconds = _run(asked)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(table(lines))
    for text in summary(lines, skipped | failed):
        console.print(text, markup=False, highlight=False)
    if asked.json:
        told = {
            "reps": asked.reps,
            "permutations": asked.permutations,
            "seconds": seconds,
            "skipped": skipped,
            "failed": failed,
        }
        write_json(Path(asked.json), lines, about() | told)
    return 1 if failed or not lines else 0


def _run(
    asked: argparse.Namespace,
) -> tuple[list[Line], dict[str, str], dict[str, str], dict[str, float]]:
    """Lines of the sections, why any was skipped or failed, and the seconds each took."""
    from time import perf_counter

    lines: list[Line] = []
    skipped, failed, seconds = {}, {}, {}
    for name in asked.sections or SECTIONS:
        judged, files = SECTIONS[name]
        if missing := [file for file in files if not (asked.data / file).is_file()]:
            skipped[name] = f"not there: {', '.join(missing)}"
            continue
        say(f"{name} begins")
        start = perf_counter()
        try:
            lines += judged(asked.data, Asked(asked.reps, asked.permutations, asked.workers))
        except Exception as error:  # the other sections are still worth their minutes
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        seconds[name] = round(perf_counter() - start, 1)
        say(f"{name} took {seconds[name]:.0f} s")
    return lines, skipped, failed, seconds


def _parser() -> Parser:
    from joblib import cpu_count

    parser = Parser(
        prog="python -m benchmarks.bench_aa",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help="folder of the public data sets")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--spend", type=Path, metavar="FILE", help="a row per customer, Parquet or CSV")
    parser.add_argument("--column", metavar="NAME", help="its column of spend")
    parser.add_argument("--before", metavar="NAME", help="its column of spend before, for CUPED")
    parser.add_argument("--holdout-share", type=float, metavar="S", help="between 0 and 1")
    parser.add_argument("--reps", type=int, default=4_000, metavar="R", help="repetitions (4,000)")
    parser.add_argument("--permutations", type=int, default=1_999, metavar="B", help="of each test (1,999)")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="processes; changes no figure")
    parser.add_argument("--json", nargs="?", const=ALONE, metavar="FILE", help="the figures for a program")
    return parser


def _check(parser: Parser, asked: argparse.Namespace) -> None:
    if asked.reps < 1 or asked.workers < 1:
        parser.error("--reps and --workers must be 1 or more")
    if asked.permutations < LEAST_PERMUTATIONS:
        parser.error(f"--permutations must be {LEAST_PERMUTATIONS} or more, not {asked.permutations}")
    if asked.spend is None:
        if asked.data is None:
            parser.error("name the folder of data sets, or a file with --spend")
        if asked.column or asked.before or asked.holdout_share is not None:
            parser.error("--column, --before and --holdout-share go with --spend FILE")
        if not asked.data.is_dir():
            parser.error(f"{asked.data} is no folder")
        return
    if asked.data is not None or asked.sections:
        parser.error("either DATA with --sections, or --spend FILE: not both")
    if asked.column is None or asked.holdout_share is None:
        parser.error("--spend needs --column NAME and --holdout-share S")
    if not 0 < asked.holdout_share < 1:
        parser.error(f"--holdout-share must lie between 0 and 1, not {asked.holdout_share:g}")


if __name__ == "__main__":
    sys.exit(main())
