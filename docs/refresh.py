"""Writes the slate at the top of both READMEs anew, from a real run on data/sample.

.venv/bin/python docs/refresh.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- slate: made by `python docs/refresh.py` -->", "<!-- /slate -->"
TABLES = '\n[history.products]\npath = "products.csv"\n\n[history.customers]\npath = "customers.csv"\n'


def main() -> None:
    """Train on the sample once; then one slate in each language."""
    with TemporaryDirectory() as made:
        shop = shutil.copytree(ROOT / "data" / "sample", Path(made) / "myshop")
        run(shop, "init", "--orders", "orders.csv")
        with (shop / "nextoffer.toml").open("a", encoding="utf-8") as file:
            file.write(TABLES)
        run(shop, "train", "--as-of", "2025-02-24")
        for file, options in (("README.md", []), ("README.ru.md", ["--language", "ru"])):
            command = ["recommend", "C000004", *options]
            slate = "\n".join(line.rstrip() for line in run(shop, *command).splitlines())
            text = f"```text\n$ nextoffer {' '.join(command)}\n{slate}\n```"
            path = ROOT / file
            before, _, rest = path.read_text(encoding="utf-8").partition(START)
            after = rest.partition(END)[2]
            path.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def run(shop: Path, *arguments: str) -> str:
    """One command in the shop's folder; what it printed."""
    command = [sys.executable, "-m", "nextoffer", *arguments]
    environment = os.environ | {"COLUMNS": "100"}  # noqa: TID251 — passed on, not read
    return subprocess.run(  # noqa: S603 — our own command
        command, cwd=shop, env=environment, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
