"""Files of what happened: read + sorted into accepted, duplicate and rejected, with nothing guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.errors import BadRecordError, MissingFileError
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.parse import parse_order
from nextoffer.tracking.record import RecordReport, parse_event, record_file

LONDON = ZoneInfo("Europe/London")
VIEW: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "detail-page-view",
    "customer_id": "ann",
    "occurred_at": "2026-07-01T12:00:00",
    "product_id": "tea",
}
ORDER: dict[str, Any] = {
    "event_id": "e2",
    "event_type": "purchase",
    "customer_id": "ann",
    "occurred_at": "2026-07-01T12:00:00Z",
    "order": {
        "order_id": "o1",
        "lines": [
            {"product_id": "tea", "quantity": 3, "unit_price": "0.335", "unit_cost": "0.10"},
            {"product_id": "jam", "quantity": -1, "unit_price": 0.25, "unit_cost": 0.2},
        ],
    },
}


def test_an_event_without_zone_is_the_shops_local_time() -> None:
    assert parse_event(VIEW, LONDON, "GBP").at == datetime(2026, 7, 1, 11, tzinfo=UTC)
    assert parse_event(VIEW | {"occurred_at": "2026-07-01T12:00:00+03:00"}, LONDON, "GBP").at.hour == 9


def test_an_orders_revenue_and_cost_are_exact_sums_of_its_lines() -> None:
    order = parse_event(ORDER, LONDON, "GBP").order

    assert order is not None
    assert (order.order_id, order.unit_id, order.revenue, order.cost) == ("o1", "ann", 100 - 25, 30 - 20)


def test_a_cost_is_unknown_unless_every_line_has_one() -> None:
    lines = [
        {"product_id": "tea", "unit_price": "1"},
        {"product_id": "jam", "unit_price": "1", "unit_cost": "1"},
    ]

    order = parse_event(
        ORDER | {"order": {"order_id": "o1", "lines": lines, "revenue": "1.50"}}, LONDON, "GBP"
    ).order

    assert order is not None
    assert (order.revenue, order.cost) == (150, None)


def order_with(**fields: object) -> dict[str, object]:
    return {
        "order": {
            "order_id": "o1",
            "lines": [{"product_id": "tea", "quantity": 1, "unit_price": "1"} | fields],
        }
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_id": None}, "event_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": {"a": 1}}, "event_id"),
        ({"event_id": "x" * 257}, "event_id"),
        ({"event_id": "a\x00b"}, "event_id"),
        ({"event_type": "sneeze"}, "event_type"),
        ({"event_type": 7}, "event_type"),
        ({"occurred_at": None}, "occurred_at"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": 1_700_000_000}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"customer_id": None}, "customer_id"),
        ({"customer_id": True}, "customer_id"),
        ({"product_id": None}, "product_id"),
        ({"event_type": "promotion-clicked"}, "attribution_token"),
        ({"event_type": "purchase"}, "order.order_id"),
        ({"event_type": "purchase", "order": 5}, "order"),
        ({"event_type": "purchase", "order": {"order_id": "o1"}}, "order.lines"),
        ({"event_type": "purchase", "order": {"order_id": "o1", "lines": "[{"}}, "order.lines"),
        ({"event_type": "purchase", "order": {"order_id": "o1", "lines": [3]}}, "order.lines[0]"),
        (
            {"event_type": "purchase", "order": {"order_id": "o1", "revenue": "1", "currency": "EUR"}},
            "order.currency",
        ),
        ({"event_type": "purchase"} | order_with(product_id=None), "order.lines[0].product_id"),
        ({"event_type": "purchase"} | order_with(quantity=0), "order.lines[0].quantity"),
        ({"event_type": "purchase"} | order_with(quantity=True), "order.lines[0].quantity"),
        ({"event_type": "purchase"} | order_with(unit_price="-1"), "order.lines[0].unit_price"),
        ({"event_type": "purchase"} | order_with(unit_price="NaN"), "order.lines[0].unit_price"),
        ({"event_type": "purchase"} | order_with(unit_price="1e99"), "order.lines[0].unit_price"),
        ({"event_type": "purchase"} | order_with(unit_price="2,55"), "order.lines[0].unit_price"),
        (
            {"event_type": "purchase"} | order_with(unit_price="1e11", quantity="1e11"),
            "order.lines[0].unit_price",
        ),
    ],
)
def test_a_bad_event_names_the_field_at_fault(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        parse_event(VIEW | change, LONDON, "GBP")

    assert caught.value.field == field
    assert str(caught.value).startswith(field)


# 2**53 = 9 007 199 254 740 992
@pytest.mark.parametrize(
    ("line", "more", "field"),
    [
        ({"unit_price": "90071992547.40", "quantity": "1000"}, {}, None),
        ({"unit_price": "90071992547.41", "quantity": "1000"}, {}, "order.lines[0].unit_price"),
        ({"unit_price": "90071992547.41", "quantity": "-1000"}, {}, "order.lines[0].unit_price"),
        ({"unit_price": "90071992547.41", "quantity": "1000"}, {"revenue": "5"}, "order.lines[0].unit_price"),
        (
            {"unit_price": "1", "unit_cost": "-90071992547.41", "quantity": "1000"},
            {"cost": "5"},
            "order.lines[0].unit_cost",
        ),
    ],
)
def test_a_line_of_more_than_an_exact_number_can_hold_is_refused(
    line: dict[str, str], more: dict[str, str], field: str | None
) -> None:
    items = [{"product_id": "tea", **line}]
    at = datetime(2026, 7, 1, tzinfo=UTC)
    if field is None:
        assert parse_order("o1", "ann", at, items, "GBP", **more).revenue == 9_007_199_254_740_000
        return

    with pytest.raises(BadRecordError, match="minor units") as caught:
        parse_order("o1", "ann", at, items, "GBP", **more)

    assert caught.value.field == field


def test_all_lines_of_an_order_together_are_an_exact_number() -> None:
    items = [{"product_id": "tea", "unit_price": "50000000000", "quantity": "1000"}] * 2
    order = {"order_id": "o1", "lines": items}

    with pytest.raises(BadRecordError, match=r"^order must amount to at most 9007199254740992 minor units"):
        parse_event(VIEW | {"event_type": "purchase", "order": order}, LONDON, "GBP")


def test_something_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadRecordError, match="must be an object"):
        parse_event(["e1"], LONDON, "GBP")  # type: ignore[arg-type]


def test_what_a_shop_sends_beside_the_known_keys_is_not_kept() -> None:
    event = parse_event(VIEW | {"email": "ann@example.com", "quantity": 2}, LONDON, "GBP")

    assert event.payload == {"quantity": "2"}


def test_events_are_read_of_some_types_until_a_moment(ledger: Ledger) -> None:
    told = [("e1", "click", 1), ("e2", "view_item", 1), ("e3", "exposure", 2), ("e4", "click", 3)]
    ledger.record_events(
        [
            parse_event(
                VIEW
                | {"event_id": name, "event_type": kind, "occurred_at": f"2026-07-0{day}T12:00:00Z"}
                | {"attribution_token": "d"},
                LONDON,
                "GBP",
            )
            for name, kind, day in told
        ]
    )
    types = ("promotion-clicked", "promotion-offered")

    found = ledger.events(until=datetime(2026, 7, 3, 12, tzinfo=UTC), only=("event_id", "type"), types=types)

    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("e1", "promotion-clicked"),
        ("e3", "promotion-offered"),
    ]
    assert ledger.events().num_rows == 4


CSV_ROWS = [
    ("e1", "view_item", "ann", "2026-07-01 12:00", "tea", ""),
    ("e2", "promotion-clicked", "", "2026-07-01 12:00", "", "d1"),
    ("", "view_item", "ann", "2026-07-01 12:00", "tea", ""),
    ("e1", "view_item", "ann", "2026-07-01 12:00", "tea", ""),
    ("e4", "view_item", "Аня", "never", "tea", ""),
]
HEADER = ("event_id", "type", "customer_id", "occurred_at", "product_id", "attribution_token")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1251"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_events_in_any_dialect(ledger: Ledger, tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text("\r\n".join(delimiter.join(row) for row in [HEADER, *CSV_ROWS]), encoding=encoding)

    report = record_file(ledger, path, LONDON, "GBP")

    assert (report.read, report.accepted, report.duplicates) == (5, 2, 1)
    assert [(row, field) for row, field, _ in report.rejected] == [(3, "event_id"), (5, "occurred_at")]
    assert record_file(ledger, path, LONDON, "GBP").accepted == 0
    assert ledger.events().num_rows == 2


def test_a_csv_row_with_too_many_cells_is_rejected_and_the_next_is_read(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    rows = [HEADER, (*CSV_ROWS[0], "one more"), CSV_ROWS[1]]
    path.write_text("\n".join(",".join(row) for row in rows))

    report = record_file(ledger, path, LONDON, "GBP")

    assert report.rejected == ((1, "row", "the row has more cells than the header"),)
    assert report.accepted == 1


def test_ndjson_with_broken_lines(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(
        b"\n".join([orjson.dumps(VIEW), b"{broken", b"[1]", b"", orjson.dumps(ORDER), orjson.dumps(ORDER)])
    )

    report = record_file(ledger, path, LONDON, "GBP")

    assert (report.read, report.accepted, report.duplicates) == (5, 2, 1)
    assert [row for row, _, _ in report.rejected] == [2, 3]
    assert ledger.orders()["revenue"].to_pylist() == [75]


def test_parquet_of_events_with_flat_orders(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    lines = orjson.dumps([{"product_id": "tea", "quantity": 2, "unit_price": "2.55"}]).decode()
    rows = [
        {
            "event_id": "e1",
            "event_type": "order",
            "customer_id": "ann",
            "order_id": "o1",
            "lines": lines,
            "revenue": None,
        },
        {
            "event_id": "e2",
            "event_type": "order",
            "customer_id": "bob",
            "order_id": "o2",
            "lines": None,
            "revenue": 9.99,
        },
    ]
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    pq.write_table(pa.Table.from_pylist([row | {"occurred_at": at} for row in rows]), path)

    assert record_file(ledger, path, LONDON, "GBP") == RecordReport(2, 2, 0)
    assert ledger.orders()["revenue"].to_pylist() == [510, 999]


def test_order_lines_are_grouped_to_orders_and_a_bad_line_refuses_its_order(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,customer_id,product_id,quantity,unit_price,ordered_at\n"
        "o1,ann,tea,2,2.55,2026-07-01 12:00\n"
        "o2,bob,tea,1,2.55,2026-07-01 12:00\n"
        "o1,ann,jam,1,1.00,2026-07-01 11:59\n"
        "o2,bob,jam,much,1.00,2026-07-01 12:00\n"
        ",eve,jam,1,1.00,2026-07-01 12:00\n"
        "o3,,jam,1,1.00,2026-07-01 12:00\n"
        "o4,ann,jam,1,1.00,2026-07-01 12:00\n"
        "o4,bob,jam,1,1.00,2026-07-01 12:00\n"
    )

    report = record_file(ledger, path, LONDON, "GBP")

    assert (report.read, report.accepted, report.duplicates) == (8, 3, 0)
    assert [row for row, _, _ in report.rejected] == [2, 4, 5, 7, 8]
    orders = ledger.orders().to_pylist()
    assert [(order["order_id"], order["unit_id"], order["revenue"]) for order in orders] == [
        ("o1", "ann", 610),
        ("o3", None, 100),
    ]
    assert orders[0]["at"].isoformat() == "2026-07-01T10:59:00"
    again = record_file(ledger, path, LONDON, "GBP")
    assert (again.accepted, again.duplicates, len(again.rejected)) == (0, 3, 5)


def test_discounts_come_off_an_orders_revenue_once(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    line = {"order_id": "o1", "customer_id": "ann", "quantity": 1, "unit_price": Decimal("10.00")}
    line |= {"ordered_at": datetime(2026, 7, 1, 12, tzinfo=UTC), "order_discount": Decimal("1.50")}
    rows = [line | {"product_id": "tea", "line_discount": Decimal("0.25")}, line | {"product_id": "jam"}]
    pq.write_table(pa.Table.from_pylist(rows), path)

    assert record_file(ledger, path, LONDON, "GBP").accepted == 2
    assert ledger.orders()["revenue"].to_pylist() == [2000 - 25 - 150]


def test_a_file_that_cannot_be_recorded_says_why(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"there is no file .*gone.csv"):
        record_file(ledger, tmp_path / "gone.csv", LONDON, "GBP")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadRecordError, match=r"has the columns a, b. Events need event_id"):
        record_file(ledger, tmp_path / "other.csv", LONDON, "GBP")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadRecordError, match="is not a Parquet file"):
        record_file(ledger, tmp_path / "bad.parquet", LONDON, "GBP")
    (tmp_path / "empty.csv").write_text("")
    assert record_file(ledger, tmp_path / "empty.csv", LONDON, "GBP") == RecordReport(0, 0, 0)
