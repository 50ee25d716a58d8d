"""What cannot be measured is refused in one sentence; what is doubtful is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nextoffer import pipeline
from nextoffer.cli import app
from nextoffer.config import load_settings
from nextoffer.errors import RequestError
from nextoffer.measurement.kpi import Filter
from nextoffer.tracking.ledger import open_ledger

NOW = datetime(2025, 3, 24, tzinfo=UTC)
ORDERS = """order_id,customer_id,product_id,quantity,unit_price,ordered_at
o1,ann,p1,1,5.00,2025-03-01
o2,bob,p2,1,7.00,2025-03-02
"""
PRODUCTS = """product_id,title,category
p1,Tea,Food > Tea
p2,Pot,Kitchen
"""
TOML = """currency = "GBP"
[history.orders]
path = "orders.csv"
[history.products]
path = "products.csv"
[experiment]
holdout_share = 0.5
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, text in (("orders.csv", ORDERS), ("products.csv", PRODUCTS), ("nextoffer.toml", TOML)):
        (tmp_path / name).write_text(text)
    settings = load_settings(tmp_path / "nextoffer.toml", {})
    ledger = open_ledger(settings.store)
    ledger.assign(settings.experiment, [f"c{n}" for n in range(40)], NOW - timedelta(days=20))
    ledger.close()
    return tmp_path / "nextoffer.toml"


def measured(path: Path, end: datetime = NOW, **asked: Any) -> Any:
    settings = load_settings(path, {})
    ledger = open_ledger(settings.store)
    try:
        return pipeline.measure_shop(settings, ledger, None, end, n_permutations=99, **asked)
    finally:
        ledger.close()


def test_a_category_no_product_is_in_is_refused_with_the_nearest(shop: Path) -> None:
    with pytest.raises(RequestError, match=r"'Food > Te'; did you mean 'Food > Tea'\?"):
        measured(shop, filter=Filter(category="Food > Te"))
    with pytest.raises(RequestError, match="no product is in the category 'food'"):
        measured(shop, filter=Filter(category="food"))

    assert measured(shop, filter=Filter(category="Food>Tea")).main.checks.n_treated > 0


def test_days_to_come_empty_words_and_unknown_names_are_refused() -> None:
    assert pipeline.past(NOW, NOW) == NOW
    with pytest.raises(RequestError, match="until 2025-03-25 lies in the future"):
        pipeline.past(NOW + timedelta(days=1), NOW)
    with pytest.raises(RequestError, match="the category is empty"):
        pipeline.asked_filter(None, None, " ")
    with pytest.raises(RequestError, match=r"no segment 'loyall'; did you mean 'loyal'\?"):
        pipeline.asked_filter("loyall", None, None)
    with pytest.raises(RequestError, match=r"--against 'years'; did you mean 'year'\?"):
        pipeline.asked_preset("years")


def test_orders_that_end_long_before_the_days_asked_about_are_told(shop: Path) -> None:
    (warning,) = measured(shop).warnings

    assert "the newest order is of 2025-03-02, 22 days before 2025-03-24" in warning
    assert measured(shop, end=datetime(2025, 3, 9, tzinfo=UTC)).warnings == ()


def test_the_command_says_so_in_one_line_with_exit_code_2(shop: Path) -> None:
    answer = CliRunner().invoke(app, ["--config", str(shop), "measure", "--until", "2999-01-01"])

    assert answer.exit_code == 2 or isinstance(answer.exception, RequestError)


def test_a_group_by_another_name_is_an_edited_ledger(shop: Path) -> None:
    settings = load_settings(shop, {})
    ledger = open_ledger(settings.store)
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("""UPDATE assignments SET "group" = 'banana' WHERE unit_id = 'c7'""")
    ledger.close()

    assert "1 assignment is not what was drawn" in str(measured(shop).main.checks.blocked)
