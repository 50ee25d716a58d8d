"""A shop as CSV files with its nextoffer.toml, trained once, and the command run on a copy of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nextoffer import cli

END = "2026-11-01"
DAYS = 120
HEADER = "order_id,customer_id,product_id,quantity,unit_price,ordered_at"
CONFIG = """\
currency = "EUR"
[history.orders]
path = "orders.csv"
[history.orders.columns]
order_id = "order_id"
customer_id = "customer_id"
product_id = "product_id"
quantity = "quantity"
unit_price = "unit_price"
ordered_at = "ordered_at"
[campaigns.monday-mail]
n = 2
"""


@dataclass(frozen=True)
class Said:
    """What the command answered."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Standard error as one line, without the frame that usage errors have."""
        return " ".join(self.err.translate(str.maketrans("│╭╮╰╯─", "      ")).split())


Run = Callable[..., Said]


def order_lines(n_customers: int, seed: int = 5, n_products: int = 40) -> list[str]:
    """Everybody has three products they buy again and again, mostly the popular ones; one line an order."""
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, n_products + 1) ** 0.8
    lines = []
    for customer in range(n_customers):
        own = rng.choice(n_products, size=3, replace=False, p=weight / weight.sum())
        days = np.sort(rng.choice(DAYS, size=rng.integers(6, 15), replace=False))
        for n, day in enumerate(days.tolist()):
            at = np.datetime64(f"{END}T12:00:00") - np.timedelta64(DAYS - day, "D")
            product = int(rng.choice(own))
            price = 3 + product % 9
            lines.append(f"o{customer}-{n},c{customer:03d},p{product:02d},1,{price}.50,{at}")
    return lines


def write_orders(folder: Path, lines: list[str]) -> None:
    (folder / "orders.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


@pytest.fixture
def nextoffer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command as its entry point does: nextoffer(folder, "train", "--as-of", …)."""

    def run(folder: Path, *words: str) -> Said:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["nextoffer", *words])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)

    return run


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A shop that was never trained: 20 customers, for whatever goes wrong before training."""
    write_orders(tmp_path, order_lines(20))
    (tmp_path / "nextoffer.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from datetime import UTC, datetime

    from nextoffer.config import load_settings
    from nextoffer.pipeline import train

    folder = tmp_path_factory.mktemp("trained")
    write_orders(folder, order_lines(120))
    (folder / "nextoffer.toml").write_text(CONFIG, encoding="utf-8")
    train(load_settings(folder / "nextoffer.toml", {}), datetime.fromisoformat(END).replace(tzinfo=UTC))
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of a trained shop of 120 customers."""
    folder = tmp_path / "shop"
    shutil.copytree(trained_once, folder)
    return folder
