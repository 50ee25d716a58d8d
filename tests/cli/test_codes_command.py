"""`nextoffer codes`: a campaign's codes as a file for the till."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from nextoffer.tracking.codes import Grant
from nextoffer.tracking.ledger import open_ledger
from nextoffer.tracking.schema import Decision

DAY = date(2026, 11, 1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Path, str]:
    """The folder of a shop whose campaign made one offer with a code, and the code."""
    (tmp_path / "nextoffer.toml").write_text('currency = "EUR"\nhistory.orders.path = "orders.csv"\n')
    ledger = open_ledger(f"sqlite:///{tmp_path}/var/nextoffer.sqlite")
    terms = {"type": "amount", "value": "5.00"}
    (code,) = ledger.codes.issue([Grant("ann", "f1", terms, "EUR", NOON, NOON + timedelta(days=14))])
    slate = [{"offer_id": "f1", "code": code}]
    ledger.record_decisions([Decision("d1", "ann", "treated", NOON, "b1", slate, "monday-mail", run_on=DAY)])
    ledger.close()
    return tmp_path, code


def test_the_codes_of_a_run_are_written_as_csv_or_parquet(nextoffer: Any, shop: tuple[Path, str]) -> None:
    folder, code = shop

    said = nextoffer(folder, "codes", "monday-mail", "--out", "codes.csv", "--date", "2026-11-01")
    assert (said.code, said.out) == (0, "1 codes of monday-mail on 2026-11-01 written to codes.csv\n")
    with open(folder / "codes.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["code"], row["customer_id"], row["value"], row["used"]) == (code, "ann", "5.00", "0")

    said = nextoffer(
        folder, "codes", "monday-mail", "--out", "codes.parquet", "--date", "2026-11-01", "--json"
    )
    assert orjson.loads(said.out)["codes"] == 1
    assert pq.read_table(folder / "codes.parquet")["code"].to_pylist() == [code]


def test_a_run_that_never_was_is_one_clear_message(nextoffer: Any, shop: tuple[Path, str]) -> None:
    said = nextoffer(shop[0], "codes", "monday-mail", "--out", "codes.csv", "--date", "2026-11-02")

    assert said.code == 2
    assert "campaign 'monday-mail' did not run on 2026-11-02" in said.message
    assert not (shop[0] / "codes.csv").exists()
