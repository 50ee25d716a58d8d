"""Shops there is little or nothing to judge: each is judged as far as it goes, or refused in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextoffer.backtest.render import rendered
from nextoffer.config import Settings, parse_settings
from nextoffer.errors import NextOfferError
from nextoffer.pipeline import run_backtest

END = datetime(2026, 5, 1, tzinfo=UTC)
COLUMNS = "order_id customer_id product_id quantity unit_price ordered_at"


def shop(folder: Path, customers: int, days: int, last_days: int = 0) -> Settings:
    """Everybody buys one of three products every second day; the last order is `last_days` before END."""
    rows = [
        f"o{customer}-{day},c{customer:02d},p{(customer + day // 2) % 3},1,{2 + day % 3}.50,"
        f"{END - timedelta(days=day, hours=-12):%Y-%m-%dT%H:%M:%S}"
        for customer in range(customers)
        for day in range(last_days + 1, last_days + days + 1)
        if (day + customer) % 2
    ]
    (folder / "orders.csv").write_text("\n".join([COLUMNS.replace(" ", ","), *rows]) + "\n", encoding="utf-8")
    orders = {"path": "orders.csv", "columns": {name: name for name in COLUMNS.split()}}
    return parse_settings({"currency": "EUR", "history": {"orders": orders}}, "nextoffer.toml", folder)


def refused(settings: Settings, as_of: datetime | None, horizon_days: int | None = None) -> str:
    with pytest.raises(NextOfferError) as caught:
        run_backtest(settings, as_of, horizon_days)
    return str(caught.value)


def test_a_cut_off_before_the_first_order(tmp_path: Path) -> None:
    said = refused(shop(tmp_path, customers=20, days=60), END - timedelta(days=200))

    assert "No customer bought and kept anything before 2025-10-13" in said
    assert "2026-03-02" in said and "later --as-of" in said


def test_a_cut_off_after_which_there_is_no_order(tmp_path: Path) -> None:
    said = refused(shop(tmp_path, customers=20, days=60), END)

    assert said.startswith("Nothing could be judged: the newest order is of 2026-04-30")
    assert "earlier --as-of; 2026-04-03 is the latest with 28 days" in said


def test_nobody_who_was_known_bought_after_the_cut_off(tmp_path: Path) -> None:
    settings = shop(tmp_path, customers=20, days=60, last_days=10)
    with (tmp_path / "orders.csv").open("a", encoding="utf-8") as file:
        file.write("new,stranger,p1,1,2.50,2026-04-28T12:00:00\n")

    said = refused(settings, END - timedelta(days=5), horizon_days=4)

    assert "none of the 20 customers known before 2026-04-26 bought anything in the 4 days" in said


@pytest.mark.parametrize("horizon_days", [None, 1])
def test_a_history_of_three_days(tmp_path: Path, horizon_days: int | None) -> None:
    settings = shop(tmp_path, customers=20, days=3)
    if horizon_days is None:
        assert "No customer bought and kept anything before 2026-04-03" in refused(settings, None)
        return
    result = run_backtest(settings, None, horizon_days)

    assert result["as_of"].startswith("2026-04-30") and result["ranker"] == "combined"
    assert result["warnings"] == ["the history has room for 1 of 3 cut-offs"]
    assert 0.0 <= result["tasks"]["next_purchase"]["nextoffer"]["recall@10"] <= 1.0


def test_one_customer(tmp_path: Path) -> None:
    result = run_backtest(shop(tmp_path, customers=1, days=200))

    assert (result["customers"], result["buyers"]) == (1, 1)
    assert result["tasks"]["lapse"]["nextoffer"] == {}
    intervals = interval_ends(result["differences"])
    assert intervals and set(intervals) == {None}
    rendered(result)


def test_days_that_are_not_there_are_told(tmp_path: Path) -> None:
    result = run_backtest(shop(tmp_path, customers=20, days=60), END - timedelta(days=7), n_cuts=1)

    assert result["warnings"] == [
        "only 7 of the 28 days from 2026-04-24 are there to score, so the figures mislead; 2026-04-03 is the "
        "latest cut-off with all of them"
    ]


def test_by_default_the_latest_whole_horizon_is_judged(tmp_path: Path) -> None:
    result = run_backtest(shop(tmp_path, customers=20, days=60), horizon_days=14, n_cuts=2)

    assert [cut["as_of"][:10] for cut in result["cuts"]] == ["2026-04-17", "2026-04-03"]
    assert result["horizon_days"] == 14 and result["warnings"] == []


def interval_ends(differences: Any) -> list[float | None]:
    if "low" in differences:
        return [differences["low"], differences["high"]]
    return [end for part in differences.values() for end in interval_ends(part)]
