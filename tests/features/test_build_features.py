"""Every feature table against a slow and plain reckoning of the same lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nextoffer.errors import TooLittleHistoryError
from nextoffer.features.build import build_features
from nextoffer.features.interactions import GUEST, NEVER_DAYS, Features

AS_OF = datetime.fromisoformat("2026-04-01")
SEEDS = range(6)
Build = Callable[..., Features]


@dataclass(frozen=True)
class Reckoned:
    """The same tables as data frames keyed by ids, made one line after the other."""

    purchases: pd.DataFrame
    orders: pd.DataFrame


def reckon(lines: Sequence[object], as_of: datetime = AS_OF) -> Reckoned:
    """Net by stacks, then group with pandas."""
    known = [(at, line) for at, line in enumerate(lines) if line.at < as_of]
    dated: dict[tuple[str, str | None], datetime] = {}
    for _, line in known:
        key = (line.order_id, line.customer_id)
        dated[key] = min(dated.get(key, line.at), line.at)
    stacks: dict[tuple[object, str], list[list[object]]] = defaultdict(list)
    for _, line in sorted(known, key=lambda item: (item[1].at, item[0])):
        party = line.customer_id if line.customer_id is not None else ("guest", line.order_id)
        stack, quantity = stacks[party, line.product_id], line.quantity
        if quantity > 0:
            stack.append([line, quantity])
        while quantity < 0 and stack:
            taken = min(-quantity, stack[-1][1])
            quantity += taken
            stack[-1][1] -= taken
            if stack[-1][1] == 0:
                stack.pop()
    kept = [(line, left) for stack in stacks.values() for line, left in stack]
    rows = pd.DataFrame(
        {
            "order_id": [line.order_id for line, _ in kept],
            "customer_id": [line.customer_id for line, _ in kept],
            "product_id": [line.product_id for line, _ in kept],
            "at": [dated[line.order_id, line.customer_id] for line, _ in kept],
            "quantity": [float(left) for _, left in kept],
            "revenue": [int(line.revenue * left / line.quantity + Decimal("0.5")) for line, left in kept],
        }
    )
    rows["age_days"] = (as_of - rows["at"]) // timedelta(days=1)
    keys = ["order_id", "customer_id", "product_id", "at", "age_days"]
    purchases = rows.groupby(keys, dropna=False, as_index=False).sum()
    orders = purchases.groupby(["order_id", "customer_id", "at", "age_days"], dropna=False, as_index=False)
    orders = orders.agg(n_products=("product_id", "size"), revenue=("revenue", "sum"))
    newest = orders.sort_values(["at", "order_id"], ascending=[False, True])
    orders["order_rank"] = newest.groupby("customer_id").cumcount() + 1
    return Reckoned(purchases, orders)


@pytest.fixture(params=SEEDS)
def shop(request: pytest.FixtureRequest, build: Build, random_shop: Callable[..., list]) -> tuple:
    """(features, reckoned) of one random little shop with a product nobody bought."""
    lines = random_shop(request.param)
    return build(lines, products=["p-nobody"], half_life_days=30.0), reckon(lines)


def test_customers_are_those_with_a_net_purchase_and_products_are_all(shop: tuple) -> None:
    features, reckoned = shop

    assert list(features.customers) == sorted(reckoned.purchases["customer_id"].dropna().unique())
    assert list(features.products) == sorted({f"p{i}" for i in range(12)} | {"p-nobody"})


def test_rfm_agrees(shop: tuple) -> None:
    features, reckoned = shop
    by_customer = reckoned.orders.groupby("customer_id")
    ranges = reckoned.purchases.groupby("customer_id")["product_id"]
    expected = {
        "recency_days": by_customer["age_days"].min(),
        "first_age_days": by_customer["age_days"].max(),
        "frequency": by_customer.size(),
        "n_order_days": by_customer["age_days"].nunique(),
        "monetary": by_customer["revenue"].sum(),
        "n_products": ranges.nunique(),
        "n_lines": ranges.size(),
    }

    for name, values in expected.items():
        assert getattr(features.rfm, name).tolist() == values.tolist(), name


def test_pairs_agree(shop: tuple) -> None:
    features, reckoned = shop
    ranks = reckoned.orders[["order_id", "customer_id", "order_rank"]]
    bought = reckoned.purchases.dropna(subset=["customer_id"]).merge(ranks, on=["order_id", "customer_id"])
    bought["weight"] = 0.5 ** (bought["age_days"] / 30.0)
    bought["n_last_3"], bought["in_last"] = bought["order_rank"] <= 3, bought["order_rank"] == 1
    grouped = bought.groupby(["customer_id", "product_id"])
    pairs = features.pairs
    got_ids = [
        (features.customers.text(u), features.products.text(i))
        for u, i in zip(pairs.customer(), pairs.product, strict=True)
    ]

    assert got_ids == list(grouped.groups)
    assert pairs.n_orders.tolist() == grouped.size().tolist()
    assert pairs.n_days.tolist() == grouped["age_days"].nunique().tolist()
    assert pairs.first_age_days.tolist() == grouped["age_days"].max().tolist()
    assert pairs.last_age_days.tolist() == grouped["age_days"].min().tolist()
    assert pairs.quantity.tolist() == grouped["quantity"].sum().tolist()
    assert pairs.revenue.tolist() == grouped["revenue"].sum().tolist()
    assert pairs.weight == pytest.approx(grouped["weight"].sum().to_numpy(), rel=1e-6)
    assert pairs.n_last_3.tolist() == grouped["n_last_3"].sum().tolist()
    assert pairs.in_last.tolist() == grouped["in_last"].max().tolist()


def test_cooccurrence_agrees(shop: tuple) -> None:
    features, reckoned = shop
    together: Counter[tuple[str, str]] = Counter()
    for _, basket in reckoned.purchases.groupby(["order_id", "customer_id"], dropna=False)["product_id"]:
        together.update(permutations(basket, 2))
    expected = sorted((a, b, n) for (a, b), n in together.items() if n >= 2)

    matrix = features.cooccurrence.matrix(features.cooccurrence.n_orders).tocoo()

    ids = list(features.products)
    assert [(ids[a], ids[b], n) for a, b, n in zip(*matrix.coords, matrix.data, strict=True)] == expected


def test_popularity_agrees_and_is_zero_for_what_nobody_bought(shop: tuple) -> None:
    features, reckoned = shop
    bought = reckoned.purchases.groupby("product_id")
    own = reckoned.purchases.dropna(subset=["customer_id"])
    per_pair = own.groupby(["product_id", "customer_id"]).agg(
        n=("age_days", "size"), last=("age_days", "min")
    )
    pairs = per_pair.reset_index().groupby("product_id")
    expected = {
        "n_orders": bought.size(),
        "n_customers": pairs.size(),
        "n_repeat_customers": pairs["n"].agg(lambda n: (n >= 2).sum()),
        "first_age_days": bought["age_days"].max(),
        "last_age_days": bought["age_days"].min(),
        "quantity": bought["quantity"].sum(),
        "revenue": bought["revenue"].sum(),
    }
    for days in (10, 28, 91):
        expected[f"n_orders_{days}"] = bought["age_days"].agg(lambda a, d=days: (a < d).sum())
        expected[f"n_customers_{days}"] = pairs["last"].agg(lambda a, d=days: (a < d).sum())

    assert {field.name for field in fields(features.popularity)} == set(expected)
    for name, values in expected.items():
        missing = NEVER_DAYS if name.endswith("age_days") else 0
        wanted = values.reindex(list(features.products), fill_value=missing)
        assert getattr(features.popularity, name).tolist() == wanted.tolist(), name


def test_orders_agree(shop: tuple) -> None:
    features, reckoned = shop
    rows = {name: row for row, name in enumerate(features.customers)}
    expected = reckoned.orders.sort_values(["order_id", "customer_id"])

    got = features.shop_orders

    assert got.customer_row.tolist() == [rows.get(name, GUEST) for name in expected["customer_id"]]
    assert got.age_days.tolist() == expected["age_days"].tolist()
    assert got.n_products.tolist() == expected["n_products"].tolist()
    assert got.revenue.tolist() == expected["revenue"].tolist()
    assert got.order_rank.tolist() == expected["order_rank"].fillna(0).tolist()


def columns_of(features: object, path: str = "") -> dict[str, bytes]:
    """Every array of the features by name, as bytes."""
    found: dict[str, bytes] = {}
    for field in fields(features):
        value = getattr(features, field.name)
        if isinstance(value, np.ndarray):
            found[f"{path}{field.name}"] = value.dtype.str.encode() + value.tobytes()
        elif hasattr(value, "__dataclass_fields__"):
            found |= columns_of(value, f"{path}{field.name}.")
    return found


def test_one_and_two_threads_give_the_same_bytes(build: Build, random_shop: Callable[..., list]) -> None:
    lines = random_shop(1, n_orders=4_000, n_products=40)

    one, two = (build(lines, threads=threads, row_group=2_048) for threads in (1, 2))

    assert columns_of(one) == columns_of(two)


def test_the_order_of_lines_is_irrelevant(build: Build, random_shop: Callable[..., list]) -> None:
    # Lines of one moment are netted in the order of their rows, so each gets a moment of its own.
    lines = [
        replace(line, at=line.at + timedelta(seconds=i))
        for i, line in enumerate(random_shop(2, n_orders=200))
    ]
    shuffled = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]

    assert columns_of(build(lines)) == columns_of(build(shuffled))


def test_what_happens_at_or_after_as_of_changes_nothing(
    build: Build, random_shop: Callable[..., list], line: Callable[..., object]
) -> None:
    lines = random_shop(3)
    later = [
        line("o-new", "c1", "p1", "2026-04-01"),
        line("o-new", "a-new-customer", "p2", "2026-04-01 00:00:01"),
        line("o1", "c1", "p1", "2026-05-01", quantity=-50),
        line("o-guest", None, "p3", "2026-06-01"),
    ]

    assert columns_of(build(lines)) == columns_of(build([*later, *lines]))


def test_an_order_at_the_as_of_moment_is_not_known_yet(build: Build, line: Callable[..., object]) -> None:
    lines = [
        line("1", "ann", "tea", "2026-03-01", revenue=10),
        line("2", "ann", "tea", "2026-03-08", revenue=30),
    ]

    rfm = build(lines, as_of="2026-03-08").rfm

    assert (rfm.recency_days.tolist(), rfm.frequency.tolist(), rfm.monetary.tolist()) == ([7], [1], [10])


def test_age_is_counted_in_whole_days_of_24_hours(build: Build, line: Callable[..., object]) -> None:
    moments = ["2026-03-31 00:00:01", "2026-03-31 00:00:00", "2026-03-30 23:59:59"]
    lines = [line(str(i), f"c{i}", "tea", moment) for i, moment in enumerate(moments)]

    assert build(lines).rfm.recency_days.tolist() == [0, 1, 1]


def test_a_guest_returns_only_what_the_same_order_holds(build: Build, line: Callable[..., object]) -> None:
    lines = [
        line("1", "ann", "tea", "2026-03-01"),
        line("g1", None, "tea", "2026-03-01"),
        line("g2", None, "tea", "2026-03-02", quantity=2, revenue=200),
        line("g2", None, "tea", "2026-03-03", quantity=-1, revenue=-100),
        line("g3", None, "tea", "2026-03-04", quantity=-5, revenue=-500),
    ]

    orders = build(lines).shop_orders

    assert orders.customer_row.tolist() == [0, GUEST, GUEST]
    assert orders.revenue.tolist() == [100, 100, 100]


def test_an_order_id_used_by_two_customers_is_two_orders(build: Build, line: Callable[..., object]) -> None:
    lines = [line("1", who, "tea", "2026-03-01") for who in ("ann", "bob", None)]

    features = build(lines)

    assert features.rfm.frequency.tolist() == [1, 1]
    assert len(features.shop_orders.age_days) == 3


@pytest.mark.parametrize("n_products", [60, 61])
def test_an_order_of_more_than_60_products_says_nothing_of_pairs(
    build: Build, line: Callable[..., object], n_products: int
) -> None:
    lines = [
        line(order, "ann", f"p{number:02}", "2026-03-01")
        for order in ("1", "2")
        for number in range(n_products)
    ]

    pairs = len(build(lines).cooccurrence.other)

    assert pairs == (60 * 59 if n_products == 60 else 0)


def test_a_sample_keeps_every_third_customer_and_no_guest(
    build: Build, random_shop: Callable[..., list]
) -> None:
    lines = random_shop(4)
    kept = sorted({line.customer_id for line in lines} - {None})[::3]

    sampled = build(lines, stride=3)

    alone = build([line for line in lines if line.customer_id in kept], products=[f"p{i}" for i in range(12)])
    assert list(sampled.customers) == list(alone.customers)
    assert columns_of(sampled) == columns_of(alone)
    assert GUEST not in sampled.shop_orders.customer_row


def test_rows_of_ids_follow_their_bytes(build: Build, line: Callable[..., object]) -> None:
    names = ["a", "B", "é", "z", "Ж", "😀", "10", "9"]
    lines = [line(name, name, name, "2026-03-01") for name in names]

    features = build(lines)

    expected = sorted(names, key=str.encode)
    assert list(features.customers) == list(features.products) == expected


def test_an_order_by_ends_in_a_unique_key(
    build: Build, random_shop: Callable[..., list], tmp_path: Path
) -> None:
    build(random_shop(5))
    keys = {
        "products_index": ["product_id"],
        "customers_known": ["known_row"],
        "customers_index": ["customer_row"],
        "shop_orders": ["order_row"],
        "pairs": ["customer_row", "product_row"],
        "rfm": ["customer_row"],
        "cooccurrence": ["product_row", "other_row"],
        "popularity": ["product_row"],
    }
    for name, key in keys.items():
        table = pq.read_table(tmp_path / "out0" / f"{name}.parquet").to_pandas()
        rows = list(table[key].itertuples(index=False, name=None))
        assert rows == sorted(set(rows)), name


def test_purchases_hold_one_row_per_order_and_product(
    build: Build, random_shop: Callable[..., list], tmp_path: Path
) -> None:
    lines = random_shop(0)
    features, reckoned = build(lines), reckon(lines)
    got = pq.read_table(tmp_path / "out0" / "purchases.parquet").to_pandas()
    expected = reckoned.purchases

    assert sorted(
        zip(got["order_id"], got["product_row"].map(list(features.products).__getitem__), strict=True)
    ) == (sorted(zip(expected["order_id"], expected["product_id"], strict=True)))
    assert got["revenue"].sum() == expected["revenue"].sum()
    assert got["customer_row"].isna().sum() == expected["customer_id"].isna().sum()


def test_too_little_history_says_what_there_is_and_what_to_do(
    build: Build, line: Callable[..., object]
) -> None:
    with pytest.raises(TooLittleHistoryError, match=r"before 2026-02-01.*2026-03-01.*choose a later --as-of"):
        build([line("1", "ann", "tea", "2026-03-01")], as_of="2026-02-01")


def test_a_history_of_guests_alone_names_the_column_to_map(build: Build, line: Callable[..., object]) -> None:
    with pytest.raises(TooLittleHistoryError, match="customer_id"):
        build([line("1", None, "tea", "2026-03-01")])


def test_a_history_all_returned_is_too_little(build: Build, line: Callable[..., object]) -> None:
    with pytest.raises(TooLittleHistoryError, match="bought and kept"):
        build([line("1", "ann", "tea", "2026-03-01"), line("2", "ann", "tea", "2026-03-02", quantity=-1)])


def test_as_of_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        build_features(None, tmp_path, tmp_path, AS_OF)  # type: ignore[arg-type]


def test_the_matrix_of_pairs_holds_their_values(build: Build, random_shop: Callable[..., list]) -> None:
    features = build(random_shop(0))
    matrix = features.pairs.matrix(features.pairs.weight, len(features.products))

    assert matrix.shape == (len(features.customers), len(features.products))
    assert matrix.sum() == pytest.approx(features.pairs.weight.sum(), rel=1e-6)
    row = features.pairs.indptr[3], features.pairs.indptr[4]
    assert matrix[3].indices.tolist() == features.pairs.product[slice(*row)].tolist()
