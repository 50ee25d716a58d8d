"""The Python API: what the command line says, as DataFrames, with and without files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nextoffer
from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Settings
from nextoffer.domain.offers import KINDS, SlateRequest
from nextoffer.errors import BadColumnError, ConfigError, MeasurementError, RequestError
from nextoffer.notebook import Shop
from nextoffer.offers.choosing import Policy
from nextoffer.pipeline import OpenShop, recommend_one
from nextoffer.tracking.ledger import open_ledger

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
AS_OF = datetime(2025, 2, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    """The sample's lines of every third customer, under canonical names, ids as pandas reads them."""
    names = ["order_id", "ordered_at", "customer_id", "product_id", "quantity", "unit_price"]
    frame = pd.read_csv(SAMPLE / "orders.csv", names=names, header=0)
    number = frame["customer_id"].str.removeprefix("C").astype("float64")  # 17.0, missing for a guest
    return frame.assign(customer_id=number)[~(number % 3 > 0)]


@pytest.fixture(scope="module")
def fitted(orders: pd.DataFrame) -> Iterator[Shop]:
    shop = nextoffer.fit(orders, timezone="Europe/London", margin={"default_share": 0.4})
    yield shop
    shop.close()


@pytest.fixture
def opened(shop_settings: Settings, shop_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The small shop with its learned bundle in service."""
    served = OpenShop(shop_settings, shop_bundle, Policy.of(shop_settings))
    monkeypatch.setattr("nextoffer.notebook.open_shop", lambda settings, key: served)
    return Shop(shop_settings)


def test_importing_nextoffer_imports_nothing_heavy() -> None:
    heavy = "numpy", "pandas", "pyarrow", "duckdb", "sklearn", "pydantic", "scipy"
    script = f"import nextoffer, sys; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        nextoffer.fitt  # noqa: B018


def test_open_says_every_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "nextoffer.toml").write_text(
        'currency = "euro"\nseeed = 1\n[history.orders]\npath = "o.csv"\n'
    )

    with pytest.raises(ConfigError) as error:
        nextoffer.open(tmp_path / "nextoffer.toml")

    assert len(error.value.faults) == 2


def test_open_needs_no_clock_no_orders_and_no_bundle_until_asked(tmp_path: Path) -> None:
    (tmp_path / "nextoffer.toml").write_text('currency = "EUR"\n[history.orders]\npath = "orders.csv"\n')
    assert nextoffer.open(tmp_path / "nextoffer.toml").settings.currency == "EUR"


def test_a_fitted_shop_knows_the_day_after_the_newest_order(fitted: Shop, orders: pd.DataFrame) -> None:
    last = pd.Timestamp(orders["ordered_at"].max()).date()
    assert fitted._open().bundle.as_of == datetime.combine(
        last + timedelta(days=1), datetime.min.time(), fitted.settings.zone
    )


def test_ids_that_pandas_made_floats_become_the_whole_numbers_they_were(fitted: Shop) -> None:
    ids = fitted.segments()["customer_id"]
    assert ids.str.fullmatch(r"\d+").all() and len(ids) > 80


def test_settings_given_to_fit_are_those_of_the_configuration_file(fitted: Shop) -> None:
    assert fitted.settings.margin.default_share == 0.4
    assert fitted.settings.timezone == "Europe/London"


def test_a_fitted_shop_recommends_and_leaves_nothing_behind(orders: pd.DataFrame, fitted: Shop) -> None:
    offers = fitted.recommend()

    assert set(offers["product_id"]) <= set(orders["product_id"])
    assert (offers["final_price"] <= offers["list_price"]).all()
    assert offers["p_buy"].between(0, 1).all()
    assert fitted._folder is not None and fitted._folder.exists()
    assert not Path("nextoffer.toml").exists() and not Path("models/CURRENT").exists()


def test_training_again_needs_a_date_of_the_calendar(fitted: Shop) -> None:
    with pytest.raises(RequestError, match="2026-11-22"):
        fitted.train("yesterday")


def test_an_unknown_setting_of_fit_is_named_with_its_nearest(orders: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="horizon_days"):
        nextoffer.fit(orders, horizont_days=14)


def test_a_missing_column_is_named(orders: pd.DataFrame) -> None:
    with pytest.raises(BadColumnError, match=r"orders\.unit_price"):
        nextoffer.fit(orders.drop(columns="unit_price"))


def untaught_shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop of one line that nothing was learned from."""
    monkeypatch.setattr("nextoffer.notebook.train", lambda *a, **k: SimpleNamespace())
    columns = {name: ["a"] for name in ("order_id", "product_id")}
    frame = pd.DataFrame({**columns, "quantity": [1], "unit_price": [1.0], "ordered_at": ["2026-01-01"]})
    return nextoffer.fit(frame, "2026-01-02")


def test_close_removes_the_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = untaught_shop(monkeypatch)
    folder = shop._folder
    assert folder is not None and (folder / "orders.parquet").exists()
    shop.close()

    assert not folder.exists()


def test_a_forgotten_shop_takes_its_folder_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = untaught_shop(monkeypatch)
    folder = shop._folder
    del shop

    assert folder is not None and not folder.exists()


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-03-29", "2026-03-29T00:00:00+00:00"),
        (date(2026, 7, 1), "2026-07-01T00:00:00+01:00"),
        ("2026-07-01T12:00", "2026-07-01T12:00:00+01:00"),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), "2026-07-01T12:00:00+00:00"),
    ],
)
def test_a_day_is_midnight_of_the_shop(
    day: Any, expected: str, opened: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("nextoffer.notebook.train", lambda settings, as_of, **_: asked.append(as_of))
    opened.train(day)
    assert asked[0].isoformat() == expected


def test_recommend_gives_what_the_command_gives(opened: Shop) -> None:
    ids = opened.segments()["customer_id"].iloc[:25].tolist()
    offers = opened.recommend(ids)

    for customer_id in ids:
        slate, _ = recommend_one(opened._open(), SlateRequest(customer_id=customer_id), AS_OF)
        got = offers[offers["customer_id"] == customer_id]
        assert got["product_id"].tolist() == [offer.product_id for offer in slate.offers]
        assert got["kind"].tolist() == [offer.kind for offer in slate.offers]
        assert got["reason_code"].tolist() == [offer.reason.code for offer in slate.offers]
        assert got["final_price"].map("{:.2f}".format).tolist() == [o.final_price for o in slate.offers]
        assert got["rank"].tolist() == list(range(1, len(got) + 1))


def test_customers_come_in_the_order_asked_and_one_may_be_asked_alone(opened: Shop) -> None:
    first, second = opened.recommend(n=1)["customer_id"].iloc[:2]

    assert opened.recommend([second, first], n=1)["customer_id"].tolist() == [second, first]
    assert opened.recommend(first, n=1)["customer_id"].tolist() == [first]


def test_only_the_kinds_asked_for_are_recommended(opened: Shop) -> None:
    assert set(opened.recommend(kinds=["cross_sell"])["kind"]) == {"cross_sell"}
    assert set(opened.recommend(kinds="for_you")["kind"]) == {"for_you"}
    with pytest.raises(RequestError, match=KINDS[0]):
        opened.recommend(kinds=["crosssell"])


def test_an_unknown_customer_is_named(opened: Shop) -> None:
    with pytest.raises(RequestError, match="'nobody'"):
        opened.recommend(["nobody"])


def test_segments_have_one_row_for_each_customer(opened: Shop, shop_bundle: Bundle) -> None:
    segments = opened.segments()

    assert len(segments) == segments["customer_id"].nunique() == len(shop_bundle.customer_ids.ids)
    assert np.allclose(segments["p_lapsed"].between(0, 1), 1)
    assert (segments["p_buy_90"] >= segments["p_buy_28"] - 1e-6).all()


def test_measure_says_what_is_missing_before_anybody_is_assigned(fitted: Shop) -> None:
    with pytest.raises(MeasurementError, match="no customer yet"):
        fitted.measure()


def test_measure_counts_the_buyers_of_each_group(fitted: Shop, orders: pd.DataFrame) -> None:
    settings = fitted.settings.model_copy(
        update={"experiment": fitted.settings.experiment.model_copy(update={"holdout_share": 0.5})}
    )
    shop = Shop(settings)
    ids = fitted.segments()["customer_id"].tolist()
    ledger = open_ledger(settings.store)
    held_out = ledger.assign(settings.experiment, ids, AS_OF - timedelta(days=90))
    ledger.close()

    measured = shop.measure().set_index("outcome")

    since = (AS_OF - timedelta(days=90)).strftime("%Y-%m-%d %H:%M")
    bought = orders[
        (orders["ordered_at"] >= since) & orders["customer_id"].notna() & (orders["quantity"] > 0)
    ]
    buyers = set(bought["customer_id"].astype(int).astype(str))
    expected = [
        len(buyers & {one for one, held in zip(ids, held_out, strict=True) if held == group})
        for group in (False, True)
    ]
    assert measured.loc["orders", ["buyers_treated", "buyers_holdout"]].tolist() == expected
    assert measured.loc["revenue", "low"] <= measured.loc["revenue", "difference"]
    assert measured.loc["revenue", "difference"] <= measured.loc["revenue", "high"]
    assert measured.loc["orders", "n_treated"] + measured.loc["orders", "n_holdout"] == len(ids)
