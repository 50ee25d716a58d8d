"""Odd shops through the real pipeline: each trains and offers nothing against the rules, or refuses in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from nextoffer import pipeline
from nextoffer.config import Settings, parse_settings
from nextoffer.domain.offers import KIND, SlateRequest
from nextoffer.errors import TooLittleHistoryError

END = datetime(2026, 3, 1, tzinfo=UTC)
TILL = 9_999  # the customer with a million lines
OF_TILL = 200  # its products are those from here on


@dataclass(frozen=True)
class Lines:
    """Order lines as columns; `day` counts to the end of the history, −1 the last."""

    order: np.ndarray
    customer: np.ndarray
    product: np.ndarray
    price: np.ndarray
    day: np.ndarray
    second: np.ndarray

    def at(self, chosen: np.ndarray) -> Lines:
        return Lines(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def and_(self, other: Lines) -> Lines:
        other = replace(other, order=other.order + self.order.max() + 1)
        both = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Lines(*(np.concatenate(pair) for pair in both))


def usual(n_customers: int, n_products: int, n_orders: int, days: int) -> Lines:
    """Two lines an order, half of them favourites, all through the history."""
    rng = np.random.default_rng([n_customers, n_products])
    weight = 1.0 / np.arange(1, n_products + 1)
    own = rng.integers(0, n_products, (n_customers, 4))
    customer = np.repeat(rng.integers(0, n_customers, n_orders), 2)
    liked = own[customer, rng.integers(0, 4, 2 * n_orders)]
    any_of = rng.choice(n_products, 2 * n_orders, p=weight / weight.sum())
    product = np.where(rng.random(2 * n_orders) < 0.5, liked, any_of)
    return Lines(
        order=np.repeat(np.arange(n_orders), 2),
        customer=customer,
        product=product,
        price=2.0 + product % 7,
        day=np.repeat(np.sort(rng.integers(-days, 0, n_orders)), 2),
        second=np.repeat(rng.integers(0, 86_400, n_orders), 2),
    )


def as_it_is(lines: Lines) -> Lines:
    return lines


def three_days(lines: Lines) -> Lines:
    return replace(lines, day=lines.day % 3 - 3)


def one_day(lines: Lines) -> Lines:
    return replace(lines, day=lines.day * 0 - 1)


def one_line(lines: Lines) -> Lines:
    return lines.at(np.array([len(lines.day) - 1]))


def one_customer(lines: Lines) -> Lines:
    return replace(lines, customer=lines.customer * 0)


def one_product(lines: Lines) -> Lines:
    return replace(lines, product=lines.product * 0, price=lines.price * 0 + 3.0)


def every_basket_identical(lines: Lines) -> Lines:
    return replace(lines, product=np.arange(len(lines.day)) % 2, price=lines.price * 0 + 3.0)


def a_product_sold_once(lines: Lines) -> Lines:
    return lines.and_(replace(lines.at(np.array([40])), product=np.array([99])))


def every_product_sold_once(lines: Lines) -> Lines:
    return replace(lines, product=np.arange(len(lines.day)))


def all_prices_jump(lines: Lines) -> Lines:
    return replace(lines, price=np.where(lines.day >= -20, 100.0, 1.0) * lines.price)


def one_price_jumps(lines: Lines) -> Lines:
    jumped = (lines.day >= -20) & (lines.product == 3)
    return replace(lines, price=np.where(jumped, 100.0, 1.0) * lines.price)


def all_at_midnight(lines: Lines) -> Lines:
    return replace(lines, second=lines.second * 0)


SHOPS: Mapping[str, Callable[[Lines], Lines]] = {
    odd.__name__: odd
    for odd in (
        as_it_is,
        three_days,
        one_day,
        one_line,
        one_customer,
        one_product,
        every_basket_identical,
        a_product_sold_once,
        every_product_sold_once,
        all_prices_jump,
        one_price_jumps,
        all_at_midnight,
    )
}
TOO_SHORT_TO_JUDGE = {"three_days", "one_day", "one_line"}
NOTHING_NEW = {"one_line", "one_product", "one_customer", "every_basket_identical"}  # they have all there is
SMALL, LARGE = (40, 24, 240, 75), (60, 24, 600, 120)


def written(folder: Path, lines: Lines) -> Settings:
    """The shop's files; product 3 is alone in its category."""
    moments = np.datetime64(END.replace(tzinfo=None), "s") + lines.day.astype("timedelta64[D]")
    columns: dict[str, Any] = {
        "order_id": [f"o{order}" for order in lines.order.tolist()],
        "customer_id": [f"c{customer}" for customer in lines.customer.tolist()],
        "product_id": [f"p{product}" for product in lines.product.tolist()],
        "quantity": np.ones(len(lines.order), np.int64),
        "unit_price": np.round(lines.price, 2),
        "ordered_at": np.datetime_as_string(moments + lines.second.astype("timedelta64[s]")).tolist(),
        "category": ["alone" if product == 3 else f"k{product % 3}" for product in lines.product.tolist()],
    }
    pacsv.write_csv(pa.table(columns), folder / "orders.csv")
    history = {"orders": {"path": "orders.csv", "columns": {name: name for name in columns}}}
    return parse_settings({"currency": "EUR", "history": history, "seed": 1}, "nextoffer.toml", folder)


def slates(settings: Settings, folder: Path) -> dict[str, list[Any]]:
    shop = pipeline.open_shop(settings)
    pipeline.recommend_all(shop, folder / "slates.parquet", None, None, "expected_profit")
    return pq.read_table(folder / "slates.parquet").to_pydict()


def check_rules(settings: Settings, lines: Lines, offers: Mapping[str, list[Any]]) -> None:
    """Offers against the shop's own lines."""
    days: dict[tuple[str, str], int] = {}
    for customer, product, day in zip(
        *(x.tolist() for x in (lines.customer, lines.product, lines.day)), strict=True
    ):
        key = f"c{customer}", f"p{product}"
        days[key] = max(days.get(key, day), day)
    newest: dict[int, tuple[int, float]] = {}
    for product, day, second, price in zip(
        *(x.tolist() for x in (lines.product, lines.day, lines.second, lines.price)), strict=True
    ):
        newest[product] = max(newest.get(product, (-(10**9), 0.0)), (day * 86_400 + second, price))
    seen = set()
    for customer, product, kind, p_buy, profit in zip(
        *(offers[name] for name in ("customer_id", "product_id", "kind", "p_buy", "expected_profit")),
        strict=True,
    ):
        assert kind in KIND and 0.0 < p_buy < 1.0 and np.isfinite(profit)
        assert int(product[1:]) in newest, "it was sold"
        assert (customer, product) not in seen, "once a slate"
        seen.add((customer, product))
        owned = days.get((customer, product))
        if kind in ("for_you", "cross_sell", "up_sell"):
            assert owned is None, f"{kind} of what {customer} has"
        if kind == "replenishment":
            assert owned is not None, f"refill of what {customer} never bought"
        if owned is not None:
            assert -owned >= settings.offers.repurchase_days, "bought this week"


@pytest.mark.parametrize("odd", SHOPS)
def test_an_odd_shop_trains_and_no_offer_leaves_the_rules(odd: str, tmp_path: Path) -> None:
    lines = SHOPS[odd](usual(*SMALL))
    settings = written(tmp_path, lines)

    report = pipeline.train(settings, END)

    assert report.published
    assert report.customers == len(np.unique(lines.customer))
    assert report.products == len(np.unique(lines.product))
    assert all("  " not in warning and "\n" not in warning for warning in report.warnings)
    assert any("two horizons" in warning for warning in report.warnings) == (odd in TOO_SHORT_TO_JUDGE)
    offers = slates(settings, tmp_path)
    check_rules(settings, lines, offers)
    some = f"c{lines.customer[0]}"
    slate, _ = pipeline.recommend_one(pipeline.open_shop(settings), SlateRequest(customer_id=some), END)
    shown = [
        product
        for who, product in zip(offers["customer_id"], offers["product_id"], strict=True)
        if who == some
    ]
    assert [offer.product_id for offer in slate.offers] == shown
    assert shown or odd in NOTHING_NEW


@pytest.mark.slow
@pytest.mark.parametrize("odd", sorted(SHOPS.keys() - TOO_SHORT_TO_JUDGE))
def test_an_odd_shop_with_a_taught_ranker_is_judged_and_keeps_the_rules(odd: str, tmp_path: Path) -> None:
    lines = SHOPS[odd](usual(*LARGE))
    settings = written(tmp_path, lines)

    pipeline.train(settings, END)
    judged = pipeline.run_backtest(settings)

    check_rules(settings, lines, slates(settings, tmp_path))
    values = [
        value
        for methods in judged["tasks"].values()
        for metrics in methods.values()
        for value in metrics.values()
    ]
    assert values and np.isfinite(values).all()


@pytest.mark.parametrize("odd", sorted(TOO_SHORT_TO_JUDGE))
def test_a_history_shorter_than_the_horizon_is_not_judged_but_refused(odd: str, tmp_path: Path) -> None:
    settings = written(tmp_path, SHOPS[odd](usual(*SMALL)))

    with pytest.raises(TooLittleHistoryError, match="order lines run from 20") as refused:
        pipeline.run_backtest(settings)

    assert_one_sentence(refused.value)


def test_a_cut_off_before_the_first_order_is_refused_by_train_and_backtest(tmp_path: Path) -> None:
    settings = written(tmp_path, usual(*SMALL))
    early = END - timedelta(days=400)

    for run in (pipeline.train, pipeline.run_backtest):
        with pytest.raises(TooLittleHistoryError, match="choose a later --as-of") as refused:
            run(settings, early)
        assert_one_sentence(refused.value)
    assert not list(settings.models_dir.glob("20*")), "nothing is published"


def assert_one_sentence(error: Exception) -> None:
    text = str(error)
    assert "\n" not in text and text.endswith(".") and text.count(". ") == 0, text


@pytest.mark.slow
@pytest.mark.parametrize("lines_an_order", [2, 250], ids=["a till account", "a wholesaler"])
def test_a_customer_of_a_million_lines_does_not_rule_the_slates_of_the_others(
    lines_an_order: int, tmp_path: Path
) -> None:
    alone, beside = (tmp_path / name for name in ("alone", "beside"))
    shares = {}
    lines = usual(300, 400, 4_000, 120)
    for folder, shop in ((alone, lines), (beside, lines.and_(a_million(lines_an_order)))):
        folder.mkdir()
        settings = written(folder, shop)
        report = pipeline.train(settings, END)
        offers = slates(settings, folder)
        check_rules(settings, shop, offers)
        of_others = [
            int(product[1:]) >= OF_TILL
            for who, product in zip(offers["customer_id"], offers["product_id"], strict=True)
            if who != f"c{TILL}"
        ]
        shares[folder] = np.mean(of_others)
        assert len(of_others) > 1_000 and report.customers >= 300

    assert shares[beside] < 2 * shares[alone], "what it buys is not what the others are offered"


def a_million(lines_an_order: int) -> Lines:
    rng, n = np.random.default_rng(5), 1_000_000
    order = np.arange(n) // lines_an_order
    n_orders = int(order.max()) + 1
    return Lines(
        order=order,
        customer=np.full(n, TILL),
        product=rng.integers(OF_TILL, 400, n),
        price=np.full(n, 3.0),
        day=np.sort(rng.integers(-120, 0, n_orders))[order],
        second=rng.integers(0, 86_400, n_orders)[order],
    )
