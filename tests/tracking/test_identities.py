"""Who a visitor turned out to be, and what comes back: rows of their own, each once, however and whenever told."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextoffer.errors import BadRecordError
from nextoffer.tracking.identities import customers_of
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.parse import CLOCKS_DIFFER, parse_event
from nextoffer.tracking.record import record_file
from nextoffer.tracking.schema import Decision

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TEA = {"product_id": "tea", "quantity": 2, "unit_price": "2.55"}


def told(name: str, **fields: Any) -> dict[str, Any]:
    base = {
        "event_id": name,
        "event_type": "view_item",
        "occurred_at": "2026-03-10T11:00:00Z",
        "product_id": "p",
    }
    return base | fields


def order(name: str, kind: str = "purchase", order_id: str = "o1", **fields: Any) -> dict[str, Any]:
    return told(name, event_type=kind, customer_id="ann", order={"order_id": order_id} | fields)


def record(ledger: Ledger, *items: dict[str, Any]) -> tuple[int, int]:
    return ledger.record_events([parse_event(item, UTC, "GBP", NOON) for item in items])[:2]


# -- visitors


def test_an_event_that_names_both_links_the_visitor_once_and_belongs_to_the_customer(ledger: Ledger) -> None:
    record(ledger, told("e0", visitor_id="v1"), told("e1", visitor_id="v1", customer_id="ann"))
    record(ledger, told("e2", visitor_id="v1", customer_id="ann"), told("e3", customer_id="bob"))

    assert ledger.identities().to_pylist() == [
        {"visitor_id": "v1", "customer_id": "ann", "at": (NOON - timedelta(hours=1)).replace(tzinfo=None)}
    ]
    assert ledger.events()["unit_id"].to_pylist() == ["v1", "ann", "ann", "bob"]  # nothing is rewritten


def test_a_shared_device_is_linked_to_each_of_its_customers(ledger: Ledger) -> None:
    record(ledger, *(told(f"e{n}", visitor_id="v1", customer_id=name) for n, name in enumerate("cab")))

    assert ledger.identities()["customer_id"].to_pylist() == ["a", "b", "c"]


def test_the_same_id_for_visitor_and_customer_is_no_link(ledger: Ledger) -> None:
    record(ledger, told("e1", visitor_id="ann", customer_id="ann"))

    assert ledger.identities().num_rows == 0


def test_an_id_known_as_a_customers_is_nobodys_visitor(ledger: Ledger) -> None:
    mailed = Decision("d", "eve", "treated", NOON, None, [], campaign="mail", run_on=NOON.date())
    ledger.record_decisions([mailed])
    record(
        ledger,
        told("e1", visitor_id="ann", customer_id="bob"),  # of the same batch
        told("e2", visitor_id="v1", customer_id="ann"),
        told("e3", visitor_id="eve", customer_id="bob"),  # a campaign wrote to her
    )
    record(ledger, told("e4", visitor_id="ann", customer_id="bob"), told("e5", visitor_id="v2"))
    record(ledger, told("e6", visitor_id="v2", customer_id="bob"))  # seen before, and never as a customer

    pairs = [(row["visitor_id"], row["customer_id"]) for row in ledger.identities().to_pylist()]
    assert pairs == [("v1", "ann"), ("v2", "bob")]


def test_a_visitor_is_the_one_customer_they_turned_out_to_be_or_nobody(ledger: Ledger) -> None:
    pairs = [("v1", "ann"), ("shared", "ann"), ("shared", "bob"), ("late", "bob")]
    record(ledger, *(told(f"e{n}", visitor_id=v, customer_id=c) for n, (v, c) in enumerate(pairs)))
    record(ledger, told("e9", visitor_id="v9", customer_id="late"))  # a customer after all

    asked = ["late", "new", "shared", "v1", "v9"]
    assert customers_of(ledger.engine, asked) == {"v1": "ann", "v9": "late"}
    assert customers_of(ledger.engine, []) == {}


def test_threads_that_link_the_same_visitors_in_any_order_leave_one_row_each(ledger: Ledger) -> None:
    pairs = [(f"v{n}", f"c{n}") for n in range(30)]

    def write(worker: int) -> None:
        for part in range(5):
            items = [
                told(f"{worker}-{part}-{visitor}", visitor_id=visitor, customer_id=customer)
                for visitor, customer in pairs[:: 1 if worker % 2 else -1]
            ]
            record(ledger, *items)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    assert ledger.identities().num_rows == 30
    assert ledger.events().num_rows == 600


# -- moments


def test_when_we_were_told_is_kept_beside_when_it_happened(ledger: Ledger) -> None:
    record(ledger, told("late", occurred_at="2025-01-01T00:00:00Z", visitor_id="v"))

    (row,) = ledger.events().to_pylist()
    assert [row[name].isoformat() for name in ("at", "received_at")] == [
        "2025-01-01T00:00:00",
        "2026-03-10T12:00:00",
    ]


@pytest.mark.parametrize(("ahead", "accepted"), [(0, True), (1, True), (-1, False)])
def test_clocks_may_differ_a_little_and_no_more(ahead: int, accepted: bool) -> None:
    at = NOON + CLOCKS_DIFFER - timedelta(seconds=ahead)
    item = told("e1", visitor_id="v", occurred_at=at.isoformat())

    assert parse_event(item, UTC, "GBP").at == at  # without a clock nobody can tell
    if accepted:
        assert parse_event(item, UTC, "GBP", NOON).at == at
        return
    with pytest.raises(BadRecordError, match="must not lie in the future") as caught:
        parse_event(item, UTC, "GBP", NOON)
    assert caught.value.field == "occurred_at"


def test_a_file_may_hold_no_line_from_the_future(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,customer_id,product_id,quantity,unit_price,ordered_at\n"
        "o1,ann,tea,1,2.55,2026-03-10 11:59\no2,ann,tea,1,2.55,2026-03-11 12:00\n"
    )

    report = record_file(ledger, path, UTC, "GBP", NOON)

    assert (report.accepted, [(row, field) for row, field, _ in report.rejected]) == (1, [(2, "ordered_at")])


STORY = [
    told("e0", visitor_id="v1"),
    told("e1", visitor_id="v1", customer_id="ann"),
    order("e2", lines=[TEA]),
    order("e3", "refund", lines=[TEA | {"quantity": 1}]),
    told("e4", customer_id="bob", occurred_at="2024-02-29T00:00:00Z"),
    order("e5", order_id="o2", lines=[TEA]),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.lists(st.sampled_from(STORY), max_size=6), max_size=5), data=st.data())
def test_in_whatever_order_and_however_often_events_arrive_the_ledger_is_the_same(
    sqlite_ledger: Ledger, arrivals: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    ledger = sqlite_ledger
    rest = data.draw(st.permutations(STORY))
    accepted = sum(record(ledger, *batch)[0] for batch in [*arrivals, rest])

    assert accepted in (0, len(STORY))  # 0 once an earlier example has filled it
    assert ledger.events().num_rows == len(STORY)
    assert sorted(ledger.orders()["revenue"].to_pylist()) == [-255, 510, 510]
    assert ledger.identities().num_rows == 1


# -- returns


def test_a_return_of_a_known_order_is_a_row_of_its_own(ledger: Ledger) -> None:
    back = order("e2", lines=[TEA | {"quantity": -1}])

    assert record(ledger, order("e1", lines=[TEA]), back) == (2, 0)
    assert record(ledger, back) == (0, 1)

    rows = {row["order_id"]: row for row in ledger.orders().to_pylist()}
    assert set(rows) == {"o1", "o1:return:e2"}
    assert (rows["o1"]["revenue"], rows["o1"]["returns_of"]) == (510, None)
    assert (rows["o1:return:e2"]["revenue"], rows["o1:return:e2"]["returns_of"]) == (-255, "o1")
    assert ledger.units_sold(NOON - timedelta(days=1)) == {"tea": 1.0}
    assert ledger.orders_of("ann", NOON - timedelta(days=1)) == ("tea",)


@pytest.mark.parametrize(
    "told_as",
    [
        {"lines": [TEA | {"unit_cost": "1", "line_discount": "0.10"}]},
        {"lines": [TEA | {"unit_cost": "1", "line_discount": "-0.10", "quantity": -2}]},
        {"lines": [TEA], "revenue": "5.00", "cost": 2},
        {"lines": [TEA], "revenue": -5, "cost": "-2.00"},
        {"revenue": 5, "cost": 2},
    ],
)
def test_a_refund_gives_back_whatever_its_signs(told_as: dict[str, Any]) -> None:
    back = parse_event(order("e2", "refund", **told_as), UTC, "GBP").order

    assert back is not None
    assert (back.order_id, back.returns_of, back.revenue, back.cost) == ("o1:return:e2", "o1", -500, -200)
    assert all(line["quantity"] == "-2" for line in back.lines)


def test_more_may_come_back_than_was_bought_and_the_ledger_keeps_what_it_was_told(ledger: Ledger) -> None:
    record(ledger, order("e1", lines=[TEA]), *(order(f"r{n}", "refund", lines=[TEA]) for n in range(2)))

    assert sum(ledger.orders()["revenue"].to_pylist()) == -510


def test_an_exchange_is_an_order_of_its_own() -> None:
    lines = [TEA, {"product_id": "jam", "quantity": -1, "unit_price": "1"}]

    exchanged = parse_event(order("e1", lines=lines), UTC, "GBP").order

    assert exchanged is not None
    assert (exchanged.order_id, exchanged.returns_of, exchanged.revenue) == ("o1", None, 410)
    with pytest.raises(BadRecordError, match=r"order.lines of a refund must all come back"):
        parse_event(order("e1", "refund", lines=lines), UTC, "GBP")
    with pytest.raises(BadRecordError, match=r"order.revenue must not be above 0"):
        parse_event(order("e1", lines=[TEA | {"quantity": -1}], revenue=1), UTC, "GBP")


HEAD = "order_id,customer_id,product_id,quantity,unit_price,ordered_at\n"
BOUGHT = "o1,ann,tea,2,2.55,2026-03-01 12:00\n"
BACK = ("o1,ann,tea,-1,2.55,2026-03-05 12:00\n", "o1,ann,tea,-1.0,2.550,2026-03-06 12:00\n")


@pytest.mark.parametrize("files", list(itertools.permutations([BOUGHT, *BACK])))
def test_returned_lines_are_recorded_once_in_any_order_alone_or_with_all_that_was_before(
    ledger: Ledger, tmp_path: Path, files: tuple[str, ...]
) -> None:
    path = tmp_path / "orders.csv"
    for text in [*files, "".join(files), "".join(files[::-1])]:
        path.write_text(HEAD + text)
        report = record_file(ledger, path, UTC, "GBP", NOON)
        assert report.read == report.accepted + report.duplicates
        assert report.accepted == (1 if text in files else 0)

    assert sorted(ledger.orders()["revenue"].to_pylist()) == [-255, -255, 510]
    assert set(ledger.orders()["returns_of"].to_pylist()) == {None, "o1"}
