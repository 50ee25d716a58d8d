"""Decision quality beside every named peer: python -m benchmarks.quality DATA [SECTION ...] [--json FILE]

DATA is the folder of public data sets. Sections run one after the other, all of them unless some are named; the
table goes to stdout, progress to stderr. A section whose data are not there is skipped and named. A missed gate
is a finding, not an error; a section that fails is (exit code 1).
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.quality.lines import Line, say
from benchmarks.quality.table import summary, table, write_json
from rich.console import Console

WIDTH = 170  # where stdout is no terminal
TAFENG = "tafeng_nbr/tafeng_dnntsp.parquet"
ONLINE_RETAIL = "online_retail/online_retail.parquet"
FRAGMENT = "dunnhumby_complete_journey/recanet_train_baskets_sample.parquet"
ESSEC, GROCERY = "purchases_essec/purchases.parquet", "grocery_elog/grocery_elog.parquet"
SECTIONS: dict[str, tuple[str, ...]] = {
    "next_basket": (
        TAFENG,
        "dunnhumby_carbo_nbr/dunnhumby_carbo_dnntsp.parquet",
        "tafeng_nbr/tafeng_reality_check.parquet",
    ),
    "new_products": (TAFENG,),
    "never_bought": (ONLINE_RETAIL,),
    "fresh": (ONLINE_RETAIL,),
    "up_sell": (ONLINE_RETAIL,),
    "replenishment": (
        ONLINE_RETAIL,
        FRAGMENT,
        "dunnhumby_complete_journey/derived_dim_product.parquet",
    ),
    "lapse": (ONLINE_RETAIL, ESSEC, GROCERY, FRAGMENT),
    "segments": (ONLINE_RETAIL, ESSEC, GROCERY),
    "cost": (TAFENG,),
}
"""Each a module here with `lines(data)`, and the files it reads."""
SCALE = "scale, 1 M customers × 50 k products: measured by `python benchmarks/bench_train.py`, not here"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections asked for and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the public data sets")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the lines as JSON")
    asked = parser.parse_args(arguments)
    if not asked.data.is_dir():
        parser.error(f"{asked.data} is no folder")
    if unknown := [name for name in asked.sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    names = [name for name in SECTIONS if name in asked.sections] or list(SECTIONS)
    lines, skipped, failed, seconds = run(asked.data, names)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(table(lines))
    for text in [*summary(lines, skipped, failed), SCALE]:
        console.print(text, markup=False, highlight=False)
    if asked.json:
        write_json(asked.json, lines, about() | {"seconds": seconds, "skipped": skipped, "failed": failed})
    return 1 if failed or not lines else 0


def run(
    data: Path, names: Sequence[str]
) -> tuple[list[Line], dict[str, str], dict[str, str], dict[str, float]]:
    """Lines of the sections, why any was skipped or failed, and the seconds each took."""
    lines: list[Line] = []
    skipped, failed, seconds = {}, {}, {}
    for name in names:
        if missing := [file for file in SECTIONS[name] if not (data / file).is_file()]:
            skipped[name] = f"not there: {', '.join(missing)}"
            say(f"{name} skipped, {skipped[name]}")
            continue
        say(f"{name} begins")
        start = perf_counter()
        try:
            found = import_module(f"benchmarks.quality.{name}").lines(data)
        except Exception as error:  # the other sections are still worth their minutes
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            lines += found
        seconds[name] = round(perf_counter() - start, 1)
        say(f"{name} took {seconds[name]:.0f} s")
    return lines, skipped, failed, seconds


def about() -> dict[str, Any]:
    """What was measured, by what."""
    asked = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    packages = ("numpy", "scipy", "scikit-learn", "implicit")
    return {
        "commit": found or "unknown",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
