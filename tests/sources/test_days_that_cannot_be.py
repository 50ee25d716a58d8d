"""Days of customers that cannot be: rejected by rule and row, and nobody else with them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from nextoffer.config import parse_settings
from nextoffer.domain.history import History
from nextoffer.sources.load import load_history

ORDERS = """order_id,customer_id,product_id,quantity,unit_price,ordered_at
1,7,A1,2,9.99,2024-03-01 10:00:00
2,8,B2,1,5.00,2024-03-02 11:30:00
"""


def load(folder: Path, **tables: str) -> History:
    (folder / "orders.csv").write_text(ORDERS, encoding="utf-8")
    history = {"orders": {"path": "orders.csv"}}
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        history[name] = {"path": f"{name}.csv"}
    document = {"currency": "GBP", "max_reject_share": 1.0, "history": history}
    return load_history(parse_settings(document, "test", folder), folder / "out")


def column(history: History, table: str, name: str) -> list[object]:
    path = history.folder / f"{table}.parquet"
    return [cell for (cell,) in duckdb.sql(f"SELECT {name} FROM read_parquet('{path}')").fetchall()]


def test_nobody_is_born_after_the_newest_order(tmp_path: Path) -> None:
    births = {"7": "1990-05-04", "8": "2024-03-02", "9": "2024-03-03", "10": "2091-05-04", "11": ""}
    rows = "".join(f"{who},{day}\n" for who, day in births.items())

    history = load(tmp_path, customers=f"customer_id,birth_date\n{rows}")

    assert history.reports["customers"].rejected_by_rule == {"birthday-in-future": 2}
    assert sorted(map(str, column(history, "customers", "customer_id"))) == ["11", "7", "8"]
    assert column(history, "rejects", "value") == ["2024-03-03", "2091-05-04"]


@pytest.mark.parametrize(
    ("day", "rejected"), [("1992-02-29", {}), ("1993-02-29", {"unparsable-birth_date": 1})]
)
def test_the_29th_of_february_is_a_birthday_in_leap_years_alone(
    tmp_path: Path, day: str, rejected: dict[str, int]
) -> None:
    history = load(tmp_path, customers=f"customer_id,birth_date\n7,{day}\n8,1990-01-01\n9,1991-01-01\n")

    assert history.reports["customers"].rejected_by_rule == rejected


def test_a_subscription_may_last_a_day_but_not_end_before_it_starts(tmp_path: Path) -> None:
    rows = "7,A1,2024-01-01,2024-01-01\n7,A1,2024-01-02,2024-01-01\n"

    history = load(tmp_path, subscriptions=f"customer_id,product_id,started_at,ends_at\n{rows}")

    assert history.reports["subscriptions"].rejected_by_rule == {"ends-before-start": 1}
    assert column(history, "rejects", '"column"') == ["ends_at"]
