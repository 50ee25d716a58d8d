"""Days, passes and interest, from small canonical folders, against plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.config import EngineSettings
from nextoffer.domain.arrays import Strings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.diary import CARTED_SHARE, ENOUGH, VIEWED_SHARE, Diary, read_diary

AS_OF = datetime(2026, 7, 1, tzinfo=UTC)
CUSTOMERS, PRODUCTS = ["ann", "bob", "eve"], ["mug", "pen", "tea"]
SCHEMAS = {
    "orders": [
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("quantity", pa.decimal128(18, 3)),
        ("ordered_at", pa.timestamp("us")),
    ],
    "customers": [
        ("customer_id", pa.string()),
        ("birth_date", pa.date32()),
        ("points_balance", pa.int64()),
        ("points_expire_at", pa.timestamp("us")),
    ],
    "interactions": [
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("event", pa.string()),
        ("occurred_at", pa.timestamp("us")),
    ],
    "subscriptions": [
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("started_at", pa.timestamp("us")),
        ("ends_at", pa.timestamp("us")),
        ("auto_renew", pa.bool_()),
    ],
}
Row = tuple[Any, ...]


def read(folder: Path, zone: str = "UTC", days: int = 14, **tables: Sequence[Row]) -> Diary:
    """The diary at AS_OF of a shop with these rows; a first order long ago settles the history."""
    settled = [(None, "mug", 1, datetime.fromisoformat("2020-01-01"))]
    tables["orders"] = [*settled, *tables.get("orders", [])]
    history = folder / "history"
    history.mkdir(parents=True, exist_ok=True)
    for name, schema in SCHEMAS.items():
        columns = list(zip(*tables.get(name, []), strict=True)) or [[] for _ in schema]
        arrays = [pa.array(list(c), k) for c, (_, k) in zip(columns, schema, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(schema)), history / f"{name}.parquet")
    with DuckDBEngine(EngineSettings(threads=1), folder) as engine:
        engine.tables(history)
        ids = Strings.of(CUSTOMERS), Strings.of(PRODUCTS)
        return read_diary(engine, folder / "out", *ids, AS_OF, zone, 28, days, 24)


def bought(customer: str, product: str, at: str) -> Row:
    return customer, product, 1, datetime.fromisoformat(at)


def day(number: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=int(number)))


def test_a_shop_that_tells_nothing_more_has_an_empty_diary(tmp_path: Path) -> None:
    diary = read(tmp_path)

    for part in (diary.calendar, diary.passes, diary.interest):
        assert all(
            len(v) == 0 for v in map(part.__getattribute__, part.__slots__) if isinstance(v, np.ndarray)
        )
    assert diary.calendar.of("birth_month", np.array([0, 2])).tolist() == [0, 0]
    assert diary.interest.share(np.array([True, False])).tolist() == [CARTED_SHARE, VIEWED_SHARE]


def test_days_begin_in_the_shops_time_zone(tmp_path: Path) -> None:
    orders = [bought("ann", "mug", "2026-03-01 23:30"), bought("ann", "mug", "2026-05-01")]
    customers = [("ann", None, 5, datetime.fromisoformat("2026-08-01 22:30"))]

    here = {
        zone: read(tmp_path / zone, zone, orders=orders, customers=customers).calendar
        for zone in ("UTC", "Europe/Moscow")
    }

    assert day(here["UTC"].first_order_day[0]) == "2026-03-01"
    assert day(here["Europe/Moscow"].first_order_day[0]) == "2026-03-02"
    assert day(here["UTC"].points_expire_day[0]) == "2026-08-01"
    assert day(here["Europe/Moscow"].points_expire_day[0]) == "2026-08-02"


def test_birthdays_are_kept_without_their_year_and_a_forms_default_is_none(tmp_path: Path) -> None:
    orders = [bought(who, "mug", "2026-05-01") for who in CUSTOMERS]
    births = {"ann": date(1964, 2, 29), "bob": date(1900, 1, 1), "eve": date(2003, 12, 31)}

    days = read(tmp_path, orders=orders, customers=[(who, born, None, None) for who, born in births.items()])

    assert list(zip(days.calendar.birth_month, days.calendar.birth_day, strict=True)) == [
        (2, 29),
        (0, 0),
        (12, 31),
    ]
    assert len(days.calendar.points_balance) == 0


def test_a_first_order_is_one_only_if_the_history_goes_back_far_enough(tmp_path: Path) -> None:
    orders = [
        bought("ann", "mug", "2020-03-30"),  # 89 days after the shop's first
        bought("bob", "mug", "2020-03-31"),
        bought("eve", "mug", "2026-07-01"),  # not known yet
    ]

    first = read(tmp_path, orders=orders).calendar.first_order_day

    assert [int(number) and day(number) for number in first] == [0, "2020-03-31", 0]


def test_what_was_bought_since_or_the_day_before_is_no_longer_of_interest(tmp_path: Path) -> None:
    seen = datetime.fromisoformat("2026-06-20 12:00")
    interactions = [(who, "mug", "detail-page-view", seen) for who in CUSTOMERS]
    orders = [
        bought("ann", "mug", "2026-06-19 11:59"),
        bought("bob", "mug", "2026-06-19 12:01"),
        bought("eve", "mug", "2026-06-30"),
        bought("ann", "tea", "2026-06-30"),
    ]

    interest = read(tmp_path, orders=orders, interactions=interactions).interest

    assert interest.customer.tolist() == [0]
    assert interest.seen_at.tolist() == [int(seen.replace(tzinfo=UTC).timestamp())]


def test_what_was_taken_out_of_the_cart_is_not_left_in_it(tmp_path: Path) -> None:
    events = {
        "mug": ["detail-page-view", "add-to-cart"],
        "pen": ["add-to-cart", "remove-from-cart"],
        "tea": ["add-to-cart", "remove-from-cart", "add-to-cart"],
    }
    start = datetime.fromisoformat("2026-06-25")
    rows = [
        ("ann", product, event, start + timedelta(hours=at))
        for product, done in events.items()
        for at, event in enumerate(done)
    ]

    interest = read(tmp_path, interactions=rows).interest

    assert {PRODUCTS[p]: bool(c) for p, c in zip(interest.product, interest.carted, strict=True)} == {
        "mug": True,
        "pen": False,
        "tea": True,
    }
    assert PRODUCTS[interest.product[0]] == "tea"  # seen last


@settings(max_examples=30)
@given(st.data())
def test_interest_is_what_plain_python_finds(tmp_path_factory: Any, data: st.DataObject) -> None:
    start = AS_OF.replace(tzinfo=None) - timedelta(days=20)
    moment = st.integers(0, 25 * 24).map(lambda hours: start + timedelta(hours=hours))
    pair = st.tuples(st.sampled_from([*CUSTOMERS, "zoe", None]), st.sampled_from([*PRODUCTS, "old"]))
    event = st.sampled_from(["detail-page-view", "add-to-cart", "remove-from-cart"])
    orders = [(*key, 1, at) for key, at in data.draw(st.lists(st.tuples(pair, moment), max_size=12))]
    rows = [(*key, e, at) for key, e, at in data.draw(st.lists(st.tuples(pair, event, moment), max_size=30))]

    found = read(tmp_path_factory.mktemp("diary"), orders=orders, interactions=rows).interest

    got = list(zip(found.customer.tolist(), found.product.tolist(), found.seen_at.tolist(), strict=True))
    assert got == brute(orders, rows)


def brute(orders: Sequence[Row], rows: Sequence[Row]) -> list[tuple[int, int, int]]:
    now, seen = AS_OF.replace(tzinfo=None), dict[tuple[str, str], datetime]()
    for who, what, event, at in rows:
        inside = now - timedelta(days=14) <= at < now
        if who in CUSTOMERS and what in PRODUCTS and inside and event != "remove-from-cart":
            seen[who, what] = max(at, seen.get((who, what), at))
    left = [
        (CUSTOMERS.index(who), -int(at.replace(tzinfo=UTC).timestamp()), PRODUCTS.index(what))
        for (who, what), at in seen.items()
        if not any(o[:2] == (who, what) and at - timedelta(days=1) <= o[3] < now for o in orders)
    ]
    return [(who, what, -at) for who, at, what in sorted(left)]


def test_what_came_of_earlier_interest_is_the_chance_of_todays(tmp_path: Path) -> None:
    seen, late = datetime.fromisoformat("2026-05-25"), datetime.fromisoformat("2026-06-02 12:00")
    interactions = [
        ("ann", "mug", "add-to-cart", seen),
        ("ann", "tea", "add-to-cart", seen),
        ("bob", "mug", "detail-page-view", seen),
        ("eve", "mug", "add-to-cart", late),  # left alone for too short a time
        ("eve", "pen", "add-to-cart", seen),  # a habit
    ]
    orders = [bought("ann", "mug", "2026-06-10"), bought("eve", "mug", "2026-06-10")]
    orders += [bought("eve", "pen", "2026-03-01"), bought("eve", "pen", "2026-06-10")]

    interest = read(tmp_path, orders=orders, interactions=interactions).interest

    assert interest.carted_share == (1 + ENOUGH * CARTED_SHARE) / (2 + ENOUGH)
    assert interest.viewed_share == ENOUGH * VIEWED_SHARE / (1 + ENOUGH)


def passes(folder: Path, subscriptions: Sequence[Mapping[str, str]], orders: Sequence[Row] = ()) -> Diary:
    rows = [
        (
            one.get("who", "ann"),
            one.get("what", "tea"),
            datetime.fromisoformat(one["from"]),
            datetime.fromisoformat(one["to"]),
            {"yes": True, "no": False}.get(one.get("auto", "")),
        )
        for one in subscriptions
    ]
    return read(folder, subscriptions=rows, orders=orders)


def test_a_pass_is_renewed_by_the_next_one_even_if_that_begins_later(tmp_path: Path) -> None:
    found = passes(
        tmp_path,
        [
            {"from": "2026-01-01", "to": "2026-07-05"},
            {"from": "2026-07-06", "to": "2027-01-01"},  # bought already, not begun
            {"who": "bob", "from": "2026-01-01", "to": "2026-07-05", "auto": "yes"},
            {"who": "eve", "what": "gone", "from": "2026-01-01", "to": "2026-07-05"},
            {"who": "zoe", "from": "2026-01-01", "to": "2026-07-05"},
        ],
    ).passes

    assert found.customer.tolist() == [0, 1, 2]
    assert found.product.tolist() == [2, 2, -1]
    assert [int(n) and day(n) for n in found.renewed_day] == ["2026-07-06", 0, 0]
    assert found.auto_renew.tolist() == [False, True, False]


def test_buying_the_product_again_near_the_end_renews_and_at_its_start_does_not(tmp_path: Path) -> None:
    month = {"from": "2026-06-01", "to": "2026-07-01"}
    week = {"from": "2026-06-24", "to": "2026-07-01"}
    cases = [
        (month, "2026-05-31", False),
        (month, "2026-06-16 23:00", False),  # more than a fortnight before the end
        (month, "2026-06-17 01:00", True),
        (week, "2026-06-27", False),  # its first half
        (week, "2026-06-28", True),
    ]

    for at, (one, when, renewed) in enumerate(cases):
        found = passes(tmp_path / str(at), [one], [bought("ann", "tea", when)]).passes
        assert (found.renewed_day.tolist() != [0]) == renewed, (one, when)
