"""Records against sums by hand: each order once, each person once, what came back is taken off where it was bought."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measurement.tables import (
    SHARE,
    assigned,
    day,
    decided,
    dictionaries,
    happened,
    linked,
    live,
    opened,
    shop_lines,
)

from nextoffer.errors import MeasurementError
from nextoffer.measurement.records import WINDOW_DAYS, Records, windows

ORDERS = "SELECT * FROM orders ORDER BY order_id"


def orders_of(records: Records) -> dict[str, dict[str, Any]]:
    return {row["order_id"]: row for row in dictionaries(records, ORDERS)}


def rounded(revenue: int) -> int:
    """Half away from zero, as SQL rounds."""
    return int((Decimal(revenue) * Decimal(str(SHARE))).quantize(Decimal(1), rounding="ROUND_HALF_UP"))


def test_an_order_that_both_know_is_the_historys_and_the_ledger_says_whose_it_was() -> None:
    history = shop_lines(
        [{"order_id": "o1", "revenue": 500}, {"order_id": "o2", "customer_id": "bob", "revenue": 70}]
    )
    told = live(
        [
            {"order_id": "o1", "unit_id": "ann", "revenue": 999},
            {"order_id": "o2", "unit_id": "eve", "revenue": 999},
            {"order_id": "o3", "unit_id": "cat", "revenue": 30, "at": 2},
        ]
    )

    with opened(orders=history, live_orders=told) as records:
        got = orders_of(records)

    assert {name: (row["customer_id"], row["revenue"]) for name, row in got.items()} == {
        "o1": ("ann", 500),
        "o2": ("bob", 70),
        "o3": ("cat", 30),
    }


def test_a_return_is_taken_off_the_order_it_was_bought_with_at_the_moment_of_that_order() -> None:
    history = shop_lines(
        [
            {"order_id": "o1", "customer_id": "ann", "revenue": 500, "ordered_at": 3},
            {"order_id": "o1", "customer_id": "ann", "revenue": -200, "quantity": -1, "ordered_at": 9},
        ]
    )
    told = live(
        [
            {"order_id": "o2", "unit_id": "bob", "revenue": 400, "cost": 100, "at": 4},
            {"order_id": "o2:return:x", "unit_id": "bob", "revenue": -100, "at": 8, "returns_of": "o2"},
            {"order_id": "o9:return:x", "unit_id": "bob", "revenue": -7, "at": 8, "returns_of": "o9"},
        ]
    )

    with opened(orders=history, live_orders=told) as records:
        got = orders_of(records)

    assert {name: (row["revenue"], row["ordered_at"]) for name, row in got.items()} == {
        "o1": (300, day(3)),
        "o2": (300, day(4)),
        "o9": (-7, day(8)),  # nobody knows what it was bought with
    }
    assert got["o2"]["margin"] == 300 - 25


def test_a_return_the_history_holds_already_is_not_taken_off_twice_but_a_later_one_is() -> None:
    history = shop_lines(
        [
            {"order_id": "o1", "customer_id": "ann", "revenue": 500, "ordered_at": 1},
            {"order_id": "o1", "customer_id": "ann", "revenue": -200, "quantity": -1, "ordered_at": 3},
            {"order_id": "o2", "customer_id": "bob", "revenue": 500, "ordered_at": 2},
            {"order_id": "o3", "customer_id": "cat", "revenue": 10, "ordered_at": 10},
        ]
    )
    told = live(
        [
            {"order_id": "a", "unit_id": "ann", "revenue": -200, "at": 3, "returns_of": "o1"},
            {"order_id": "b", "unit_id": "ann", "revenue": -50, "at": 11, "returns_of": "o1"},
            {"order_id": "c", "unit_id": "bob", "revenue": -60, "at": 5, "returns_of": "o2"},
        ]
    )

    with opened(orders=history, live_orders=told) as records:
        got = orders_of(records)

    assert {name: row["revenue"] for name, row in got.items()} == {"o1": 250, "o2": 440, "o3": 10}


def test_who_brings_a_purchase_back_does_not_take_it_over() -> None:
    history = shop_lines(
        [
            {"order_id": "o1", "customer_id": "ann", "revenue": 500},
            {"order_id": "o1", "customer_id": "zoe", "revenue": -200, "quantity": -1, "ordered_at": 3},
            {
                "order_id": "o2",
                "customer_id": "zoe",
                "revenue": -50,
                "quantity": -1,
            },  # all that is known of it
        ]
    )
    told = live(
        [
            {"order_id": "o3", "unit_id": "bob", "revenue": 400},
            {"order_id": "r", "unit_id": "zoe", "revenue": -400, "at": 8, "returns_of": "o3"},
        ]
    )

    with opened(orders=history, live_orders=told) as records:
        got = orders_of(records)

    assert {name: (row["customer_id"], row["revenue"]) for name, row in got.items()} == {
        "o1": ("ann", 300),
        "o2": ("zoe", -50),
        "o3": ("bob", 0),
    }


amounts = st.integers(-300, 900)


@st.composite
def shops(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    history = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "order_id": st.sampled_from(["o1", "o2", "o3", "o4"]),
                    "revenue": amounts,
                    "cost": st.none() | amounts,
                    "ordered_at": st.integers(0, 9),
                }
            ),
            max_size=8,
        )
    )
    for row in history:
        row["quantity"] = -1 if row["revenue"] < 0 else 1
        row["customer_id"] = {"o1": "ann", "o2": "ann", "o3": "bob"}.get(row["order_id"])
    names = draw(st.lists(st.sampled_from(["o1", "o4", "o5", "o6"]), unique=True))
    told: list[dict[str, Any]] = [
        {
            "order_id": name,
            "unit_id": "cat",
            "revenue": draw(st.integers(0, 900)),
            "at": draw(st.integers(0, 20)),
        }
        for name in names
    ]
    for number in range(draw(st.integers(0, 3))):
        back = draw(st.sampled_from(["o1", "o3", "o5", "o7"]))
        told.append(
            {
                "order_id": f"r{number}",
                "unit_id": "cat",
                "revenue": -draw(st.integers(1, 300)),
                "at": draw(st.integers(0, 20)),
                "returns_of": back,
            }
        )
    return history, told


@settings(max_examples=18, deadline=None)
@given(shops())
def test_orders_are_those_a_careful_clerk_would_write_down(
    shop: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    history, told = shop
    lines: dict[str, list[tuple[float, int, int | None, str | None]]] = defaultdict(list)
    last = max((row["ordered_at"] for row in history), default=-1)
    whose = {row["order_id"]: row["unit_id"] for row in told}
    for row in history:
        who = row["customer_id"] or whose.get(row["order_id"])
        lines[row["order_id"]].append((row["ordered_at"], row["revenue"], row["cost"], who))
    known = set(lines)
    with_returns = {row["order_id"] for row in history if row["quantity"] < 0}
    for row in told:
        back = row.get("returns_of")
        if row["order_id"] not in known and not (back in with_returns and row["at"] <= last):
            lines[back or row["order_id"]].append((row["at"], row["revenue"], None, row["unit_id"]))
    expected = {}
    for name, some in lines.items():
        bought = [at for at, revenue, _, _ in some if revenue >= 0] or [at for at, *_ in some]
        margin = sum(rounded(revenue) if cost is None else revenue - cost for _, revenue, cost, _ in some)
        buyers = [who for _, revenue, _, who in some if revenue >= 0 and who is not None]
        owner = max(buyers or (who for *_, who in some if who is not None), default=None)
        expected[name] = (owner, day(min(bought)), sum(revenue for _, revenue, *_ in some), margin)

    with opened(orders=shop_lines(history), live_orders=live(told)) as records:
        got = orders_of(records)

    assert {
        name: (row["customer_id"], row["ordered_at"], row["revenue"], row["margin"])
        for name, row in got.items()
    } == expected


some_lines = st.lists(
    st.fixed_dictionaries(
        {"product_id": st.sampled_from("abc"), "quantity": st.integers(1, 3), "unit_price": st.integers(0, 9)}
    ),
    max_size=3,
    unique_by=lambda line: line["product_id"],
)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-2000, 2000), st.none() | st.integers(0, 2000), some_lines),
        min_size=20,
        max_size=40,
    )
)
def test_what_a_live_order_was_worth_and_cost_is_shared_exactly_over_its_lines(
    orders: list[tuple[int, int | None, list[dict[str, Any]]]],
) -> None:
    told = [
        {"order_id": f"o{number:02d}", "unit_id": "ann", "revenue": revenue, "cost": cost, "lines": lines}
        for number, (revenue, cost, lines) in enumerate(orders)
    ]

    with opened(live_orders=live(told)) as records:
        rows = dictionaries(records, "SELECT * FROM lines")
        merged = orders_of(records)

    for order in told:
        own = [row for row in rows if row["order_id"] == order["order_id"]]
        assert len(own) == max(1, len(order["lines"]))
        assert sum(row["revenue"] for row in own) == order["revenue"] == merged[order["order_id"]]["revenue"]
        assert sum(row["cost"] or 0 for row in own) == (order["cost"] or 0)
        worth = {line["product_id"]: line["quantity"] * line["unit_price"] for line in order["lines"]}
        if total := sum(worth.values()):
            for row in own:
                assert abs(row["revenue"] - order["revenue"] * worth[row["product_id"]] / total) <= 1


def test_a_visitor_counts_as_the_one_customer_they_became() -> None:
    told = live(
        [
            {"order_id": "o1", "unit_id": "v1", "revenue": 10},
            {"order_id": "o2", "unit_id": "v2", "revenue": 20},
            {"order_id": "o3", "unit_id": "ann", "revenue": 30},
        ]
    )
    identities = linked([("v1", "ann"), ("v2", "bob"), ("v2", "cat"), ("v1", "ann"), ("dan", "dan")])
    decisions = decided([{"decision_id": "d1", "unit_id": "v1"}, {"decision_id": "d2", "unit_id": "v2"}])
    events = happened([{"decision_id": "d1"}, {"unit_id": "v1", "offer_id": "o"}, {"decision_id": "d2"}])

    with opened(live_orders=told, identities=identities, decisions=decisions, events=events) as records:
        assert (records.n_merged, records.n_ambiguous) == (1, 1)
        assert {name: row["customer_id"] for name, row in orders_of(records).items()} == {
            "o1": "ann",
            "o2": "v2",
            "o3": "ann",
        }
        units = "SELECT unit_id FROM {} ORDER BY ALL"
        assert [row["unit_id"] for row in dictionaries(records, units.format("happened"))] == [
            "ann",
            "ann",
            "v2",
        ]
        assert [row["unit_id"] for row in dictionaries(records, units.format("offered"))] == ["ann", "v2"]


def test_nobody_takes_over_a_customer_by_naming_them_as_their_visitor() -> None:
    history = shop_lines([{"order_id": "o1", "customer_id": "ann", "revenue": 500}])
    people = pa.table({"customer_id": ["bob"]})
    told = live(
        [
            {"order_id": f"live-{name}", "unit_id": name, "revenue": 10}
            for name in ("ann", "bob", "cat", "v1", "v2", "loop")
        ]
    )
    rows = [
        {"unit_id": unit, "group": "treated" if unit == "eve" else "holdout"}
        for unit in ("ann", "bob", "cat", "eve")
    ]
    links = [
        ("ann", "eve"),  # has ordered
        ("bob", "eve"),  # is known to the shop
        ("v1", "cat"),
        ("cat", "eve"),  # is what v1 became
        ("v2", "eve"),
        ("loop", "v2"),  # v2 would be a customer then
    ]

    with opened(
        orders=history,
        customers=people,
        live_orders=told,
        identities=linked(links),
        assignments=assigned(rows),
    ) as records:
        whose = {name: row["customer_id"] for name, row in orders_of(records).items()}
        groups = records.rows('SELECT unit_id, "group", crossed FROM assigned ORDER BY unit_id')
        assert (records.n_merged, records.n_ambiguous) == (2, 4)

    assert whose == {
        "o1": "ann",
        "live-ann": "ann",
        "live-bob": "bob",
        "live-cat": "cat",
        "live-v1": "cat",
        "live-v2": "v2",
        "live-loop": "v2",
    }
    assert groups == [
        ("ann", "holdout", False),
        ("bob", "holdout", False),
        ("cat", "holdout", False),
        ("eve", "treated", False),
    ]


def test_a_person_stays_in_their_own_group_else_in_that_of_their_first_visit() -> None:
    rows = [
        {"unit_id": "v1", "group": "treated", "assigned_at": 0},
        {"unit_id": "ann", "group": "holdout", "assigned_at": 5},
        {"unit_id": "v2", "group": "holdout", "assigned_at": 3},
        {"unit_id": "v3", "group": "treated", "assigned_at": 4},
        {"unit_id": "v4", "group": "treated", "assigned_at": 4, "stratum": "new"},
        {"unit_id": "v4", "group": "holdout", "assigned_at": 4, "experiment": "other"},
        {"unit_id": "v5", "group": "treated", "assigned_at": 1},
    ]
    identities = linked([("v1", "ann"), ("v2", "bob"), ("v3", "bob"), ("v4", "cat")])

    with opened(assignments=assigned(rows), identities=identities) as records:
        got = dictionaries(records, "SELECT * FROM assigned WHERE experiment = 'e' ORDER BY unit_id")
        other = dictionaries(records, "SELECT * FROM assigned WHERE experiment = 'other'")

    assert [(row["unit_id"], row["group"], row["assigned_at"], row["crossed"]) for row in got] == [
        ("ann", "holdout", day(5), True),
        ("bob", "holdout", day(3), True),
        ("cat", "treated", day(4), False),
        ("v5", "treated", day(1), False),
    ]
    assert [row["stratum"] for row in got] == [None, None, "new", None]
    assert [(row["unit_id"], row["group"]) for row in other] == [("cat", "holdout")]


def test_a_parquet_file_is_read_as_the_table_it_holds_and_what_is_not_given_is_empty(tmp_path: Path) -> None:
    history = shop_lines([{"order_id": "o1", "customer_id": "ann", "revenue": 500, "points_spent": 7}])
    pq.write_table(history, tmp_path / "it's orders.parquet")
    products = shop_lines([]).select(["product_id"])

    with (
        opened(orders=history) as one,
        opened(orders=tmp_path / "it's orders.parquet", products=products) as other,
    ):
        assert orders_of(one) == orders_of(other)
        assert orders_of(one)["o1"]["points_spent"] == 7
        for name in (
            "people",
            "segments",
            "surveys",
            "assigned",
            "decided",
            "offered",
            "happened",
            "answers",
        ):
            assert one.row(f"SELECT COUNT(*) FROM {name}") == (0,)
        assert not one.knows_people


def test_what_does_not_fit_into_memory_is_spilled(tmp_path: Path) -> None:
    with opened(memory_limit="100MB", temp_directory=tmp_path / "spill") as records:
        assert records.row("SELECT current_setting('memory_limit')") == ("95.3 MiB",)


def test_a_query_too_large_for_memory_and_disk_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with opened(memory_limit="30MB", temp_directory=tmp_path / "spill") as records:
        records.rows("SET max_temp_directory_size = '1MB'")
        with pytest.raises(MeasurementError, match=r"^memory and disk do not suffice.*engine\.memory_limit"):
            records.rows("CREATE TEMP TABLE big AS SELECT range AS a, hash(range) AS b FROM range(5000000)")
        assert records.row("SELECT 5") == (5,)  # what needs less still can


@pytest.mark.parametrize(
    "query",
    [
        "SELECT CAST(customer_id AS INTEGER) FROM orders",
        "SELECT CAST(revenue AS TINYINT) FROM orders",
        "SELECT CAST(revenue AS DECIMAL(18,6)) * CAST('5000000000.1' AS DECIMAL(18,6)) FROM orders",
    ],
)
def test_what_cannot_be_counted_is_told_without_quoting_what_customers_did(query: str) -> None:
    history = shop_lines([{"order_id": "o1", "customer_id": "ann@example.com", "revenue": -98765}])

    with opened(orders=history) as records:
        for ask in (records.rows, records.row, records.arrow):
            with pytest.raises(MeasurementError, match="cannot be measured: ") as caught:
                ask(query)
            assert "example" not in str(caught.value) and "98765" not in str(caught.value)


def test_a_slate_mangled_by_hand_is_refused_in_one_sentence() -> None:
    mangled = decided([{"decision_id": "d", "unit_id": "ann"}]).to_pylist()
    mangled[0]["slate"] = '[{"offer_id": '

    with pytest.raises(MeasurementError, match=r"cannot be measured: .*[Mm]alformed JSON"):
        opened(decisions=pa.Table.from_pylist(mangled))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"nowhere\.parquet"):
        opened(orders=tmp_path / "nowhere.parquet")


def test_parameters_a_query_does_not_name_are_left_out_and_moments_lose_their_zone() -> None:
    with opened() as records:
        asked = {"at": day(0).astimezone(), "more": 1}
        assert records.row("SELECT 5 AS five", asked) == (5,)
        assert records.row("SELECT $at IS NOT NULL", asked) == (True,)


def test_every_kind_has_a_window_and_the_shop_may_set_another() -> None:
    assert WINDOW_DAYS["for_you"] == 14
    assert (WINDOW_DAYS["replenishment"], WINDOW_DAYS["renewal"], WINDOW_DAYS["win_back"]) == (28, 28, 56)
    assert windows({"for_you": 3}) == {**WINDOW_DAYS, "for_you": 3}


@pytest.mark.parametrize(("currency", "minor"), [("GBP", 333), ("JPY", 3), ("KWD", 3333)])
def test_lines_of_live_orders_are_weighed_in_the_currencys_own_minor_units(currency: str, minor: int) -> None:
    lines = [{"product_id": "a", "quantity": "1", "unit_price": "3.333"}]
    told = live([{"order_id": "o", "unit_id": "ann", "revenue": minor, "lines": lines}])

    with opened(live_orders=told, currency=currency) as records:
        assert orders_of(records)["o"]["revenue"] == minor


@pytest.mark.parametrize(
    ("currency", "quantity", "price", "discount", "shares"),
    [
        ("EUR", "1", "10000.00", "0", (1_000_000, 500_000)),
        ("EUR", "2", "10000.00", "5000.00", (1_500_000, 500_000)),
        ("EUR", "1", "99999999.99", "0", (9_999_999_999, 500_000)),
        ("EUR", "12.5", "999999999.99", "0", (1_249_999_999_988, 500_000)),
        ("EUR", "1", "999999999999.99", "899999999999.99", (10_000_000_000_000, 500_000)),
        ("EUR", "900000000000", "99.99", "0", (8_999_100_000_000_000, 500_000)),
        ("JPY", "3", "900000000000", "0", (2_700_000_000_000, 5_000)),
    ],
)
def test_what_a_line_of_a_large_order_was_worth_is_exact(
    currency: str, quantity: str, price: str, discount: str, shares: tuple[int, int]
) -> None:
    first = {"product_id": "a", "quantity": quantity, "unit_price": price, "line_discount": discount}
    other = {"product_id": "b", "quantity": "1", "unit_price": "5000.00"}
    told = live([{"order_id": "o", "unit_id": "ann", "revenue": sum(shares), "lines": [first, other]}])

    with opened(live_orders=told, currency=currency) as records:
        got = records.rows("SELECT revenue FROM lines ORDER BY product_id")
        assert orders_of(records)["o"]["revenue"] == sum(shares)

    assert tuple(revenue for (revenue,) in got) == shares
