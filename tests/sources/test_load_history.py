"""A shop's files in whatever dialect become the same canonical tables, and every row is accounted for."""

# ruff: noqa: DTZ001, E501  (rows of test tables stay on one line; canonical moments are naive UTC)

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextoffer.config import parse_settings
from nextoffer.domain.history import History
from nextoffer.domain.tables import ORDERS, SQL_TYPES, TABLES
from nextoffer.errors import (
    BadColumnError,
    ConfigError,
    EmptyTableError,
    MissingFileError,
    SourceError,
    TooManyRejectsError,
)
from nextoffer.sources.load import load_history

HEADER = ["order_id", "customer_id", "product_id", "quantity", "unit_price", "ordered_at"]
GOOD = ["1001", "7", "A1", "2", "9.99", "2024-03-01 10:00:00"]
OTHER = ["1002", "8", "B2", "1", "5.00", "2024-03-02 11:30:00"]


def text_of(rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    target = io.StringIO()
    csv.writer(target, delimiter=delimiter).writerows(rows)
    return target.getvalue()


def save(folder: Path, rows: Sequence[Sequence[object]], name: str = "orders.csv") -> None:
    (folder / name).write_text(text_of(rows), encoding="utf-8")


def load(folder: Path, orders: dict[str, Any] | None = None, **more: Any) -> History:
    tables = {key: more.pop(key) for key in list(more) if key in TABLES}
    document = {
        "currency": "GBP",
        "max_reject_share": 1.0,
        "history": {"orders": {"path": "orders.csv", **(orders or {})}, **tables},
        **more,
    }
    return load_history(parse_settings(document, "test", folder), folder / "out")


def rows_of(history: History, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    path = history.folder / f"{table}.parquet"
    return duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()


LINE = "order_id, customer_id, product_id, quantity, unit_price, ordered_at"
EXPECTED = [
    ("1001", "7", "A1", Decimal("2.000"), Decimal("9.9900"), datetime(2024, 3, 1, 10, 0)),
    ("1002", "8", "B2", Decimal("1.000"), Decimal("5.0000"), datetime(2024, 3, 2, 11, 30)),
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_separator_and_mark_gives_the_same_lines(tmp_path: Path, delimiter: str, encoding: str) -> None:
    (tmp_path / "orders.csv").write_text(text_of([HEADER, GOOD, OTHER], delimiter), encoding=encoding)

    assert rows_of(load(tmp_path), "orders", LINE) == EXPECTED


def test_a_windows_1251_file_reads_as_russian(tmp_path: Path) -> None:
    rows = [
        ["Номер", "Клиент", "Товар", "Количество", "Цена", "Дата"],
        ["1", "Иван", "Чай чёрный", "2", "9,50", "01.03.2024"],
    ]
    (tmp_path / "orders.csv").write_text(text_of(rows, ";"), encoding="cp1251")
    columns = {
        "order_id": "Номер",
        "customer_id": "Клиент",
        "product_id": "Товар",
        "quantity": "Количество",
        "unit_price": "Цена",
        "ordered_at": "Дата",
    }

    got = rows_of(load(tmp_path, {"columns": columns}), "orders", LINE)

    assert got == [("1", "Иван", "Чай чёрный", Decimal(2), Decimal("9.5"), datetime(2024, 3, 1))]


def test_gzip_and_globs_are_one_table_with_rows_numbered_through(tmp_path: Path) -> None:
    (tmp_path / "orders-1.csv.gz").write_bytes(gzip.compress(text_of([HEADER, GOOD]).encode()))
    (tmp_path / "orders-2.csv.gz").write_bytes(gzip.compress(text_of([HEADER[::-1], OTHER[::-1]]).encode()))

    history = load(tmp_path, {"path": "orders-*.csv.gz"})

    assert rows_of(history, "orders", LINE) == EXPECTED
    assert rows_of(history, "orders", "row") == [(1,), (2,)]


def test_quoted_newlines_stay_inside_their_cell(tmp_path: Path) -> None:
    save(tmp_path, [[*HEADER, "title"], [*GOOD, 'Mug,\n"big"'], [*OTHER, "Tea"]])

    history = load(tmp_path)

    assert rows_of(history, "products", "product_id, title") == [("A1", 'Mug,\n"big"'), ("B2", "Tea")]
    assert rows_of(history, "orders", "row") == [(1,), (2,)]


def test_a_record_with_too_many_cells_is_rejected_under_its_own_number(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD, [*GOOD, "x", "y"], OTHER])

    history = load(tmp_path)

    assert rows_of(history, "orders", "row") == [(1,), (3,)]
    assert rows_of(history, "rejects", '"row", rule') == [(2, "malformed-line")]
    assert history.reports["orders"].read == 3


def test_malformed_records_keep_their_numbers_over_many_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextoffer.sources.files.BLOCK_BYTES", 2000)
    bad = {7, 8, 300, 451}
    lines = [[str(n), *GOOD[1:]] if n not in bad else [str(n), "x"] for n in range(1, 501)]
    save(tmp_path, [HEADER, *lines])

    history = load(tmp_path)

    assert all(order_id == str(row) for order_id, row in rows_of(history, "orders", "order_id, row"))
    assert {row for (row,) in rows_of(history, "rejects", '"row"')} == bad
    assert history.reports["orders"].accepted == 496


@pytest.mark.parametrize(
    ("cells", "prices"),
    [
        (["1,234.50", "2.5"], ["1234.5", "2.5"]),
        (["1.234,50", "2,5"], ["1234.5", "2.5"]),
        (["1 234,50", "2\u00a0000,5"], ["1234.5", "2000.5"]),
        (["£3.20", "1e2"], ["3.2", "100"]),
    ],
)
def test_the_decimal_mark_is_decided_for_the_whole_column(
    tmp_path: Path, cells: list[str], prices: list[str]
) -> None:
    save(tmp_path, [HEADER, *([*GOOD[:4], cell, GOOD[5]] for cell in cells)])

    assert rows_of(load(tmp_path), "orders", "unit_price") == [(Decimal(price),) for price in prices]


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (["2024-03-01", "2024-03-13T08:05:09"], [(2024, 3, 1), (2024, 3, 13, 8, 5, 9)]),
        (["01.03.2024 10:15", "13.03.2024"], [(2024, 3, 1, 10, 15), (2024, 3, 13)]),
        (["12/1/2010 8:26", "12/13/2010 17:01"], [(2010, 12, 1, 8, 26), (2010, 12, 13, 17, 1)]),
        (["1/12/2010 8:26", "13/12/2010 17:01"], [(2010, 12, 1, 8, 26), (2010, 12, 13, 17, 1)]),
        (["12/1/10 8:26", "12/13/10 17:01"], [(2010, 12, 1, 8, 26), (2010, 12, 13, 17, 1)]),
        (["20240301", "20240313"], [(2024, 3, 1), (2024, 3, 13)]),
        (["1709287200", "1709287201"], [(2024, 3, 1, 10), (2024, 3, 1, 10, 0, 1)]),
        (["2024-01-05 10:22:33 -0500", "2024-01-05T10:22:33Z"], [(2024, 1, 5, 15, 22, 33), (2024, 1, 5, 10, 22, 33)]),
    ],
)  # fmt: skip
def test_the_date_style_is_decided_for_the_whole_column(
    tmp_path: Path, cells: list[str], days: list[tuple[int, ...]]
) -> None:
    save(tmp_path, [HEADER, *([*GOOD[:5], cell] for cell in cells)])

    assert rows_of(load(tmp_path), "orders", "ordered_at") == [(datetime(*day),) for day in days]  # type: ignore[arg-type]


def test_days_and_months_that_cannot_be_told_apart_are_warned_of_and_date_format_settles_it(
    tmp_path: Path,
) -> None:
    save(tmp_path, [HEADER, [*GOOD[:5], "3/4/2024 9:00"]])

    unsure = load(tmp_path)
    assert rows_of(unsure, "orders", "ordered_at") == [(datetime(2024, 3, 4, 9),)]
    assert any("date_format" in warning and "D/M/YYYY" in warning for warning in unsure.warnings)

    settled = load(tmp_path, {"date_format": "%d/%m/%Y %H:%M"})
    assert rows_of(settled, "orders", "ordered_at") == [(datetime(2024, 4, 3, 9),)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("zone", ["Europe/London", "America/St_Johns", "Asia/Kolkata", "UTC"])
def test_local_moments_become_utc_through_summer_time(tmp_path: Path, zone: str, form: str) -> None:
    # Every 10 hours and 7 minutes of two years; the two hours around a change are ambiguous and left out.
    local = [datetime(2009, 1, 1) + timedelta(minutes=607) * step for step in range(1700)]
    there = ZoneInfo(zone)
    clear = [
        at for at in local
        if len({(at + timedelta(hours=shift)).replace(tzinfo=there).utcoffset() for shift in (-2, 0, 2)}) == 1
    ]  # fmt: skip
    rows = [[*GOOD[:5], at] for at in clear]
    if form == "csv":
        save(tmp_path, [HEADER, *rows])
    else:
        cells = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
        pq.write_table(
            pa.table({name: list(values) for name, values in cells.items()}), tmp_path / "orders.parquet"
        )

    got = rows_of(load(tmp_path, {"path": f"orders.{form}"}, timezone=zone), "orders", "ordered_at")

    assert got == [(at.replace(tzinfo=there).astimezone(UTC).replace(tzinfo=None),) for at in clear]


def test_ids_that_went_through_floats_lose_their_point_only_if_the_whole_column_did(tmp_path: Path) -> None:
    save(
        tmp_path,
        [
            HEADER,
            ["001", "17850.0", "1.0", *GOOD[3:]],
            ["002", "", "1.5", *GOOD[3:]],
            [" 3 ", "8.0", "x", *GOOD[3:]],
        ],
    )

    got = rows_of(load(tmp_path), "orders", "order_id, customer_id, product_id")

    assert got == [("001", "17850", "1.0"), ("002", None, "1.5"), ("3", "8", "x")]


def test_typed_parquet_gives_the_same_lines_as_csv(tmp_path: Path) -> None:
    paris = timezone(timedelta(hours=1))
    table = pa.table(
        {
            "order_id": [1001, 1002],
            "customer_id": [7.0, 8.0],
            "product_id": pa.array(["A1", "B2"]).dictionary_encode(),
            "quantity": pa.array([2, 1], pa.int8()),
            "unit_price": [9.99, 5.0],
            "ordered_at": pa.array(
                [datetime(2024, 3, 1, 11, tzinfo=paris), datetime(2024, 3, 2, 12, 30, tzinfo=paris)]
            ),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")

    assert rows_of(load(tmp_path, {"path": "*.parquet"}), "orders", LINE) == EXPECTED


def test_rows_of_several_parquet_files_are_numbered_through(tmp_path: Path) -> None:
    for part, rows in enumerate(([GOOD, GOOD, GOOD], [["", *GOOD[1:]], OTHER])):
        cells = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
        pq.write_table(
            pa.table({name: list(values) for name, values in cells.items()}), tmp_path / f"{part}.parquet"
        )

    history = load(tmp_path, {"path": "*.parquet"})

    assert rows_of(history, "rejects", '"row", rule') == [(4, "missing-order_id")]
    assert rows_of(history, "orders", "row") == [(1,), (2,), (3,), (5,)]


def test_a_database_by_url_gives_the_same_lines(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "shop.db")) as db, db:
        db.execute("CREATE TABLE lines (o INTEGER, c INTEGER, p TEXT, q INTEGER, price REAL, at TEXT)")
        db.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", [GOOD, OTHER])
    query = "SELECT o AS order_id, c AS customer_id, p AS product_id, q AS quantity, price AS unit_price, at AS ordered_at FROM lines"
    document = {"currency": "GBP", "history": {"orders": {"url": "sqlite:///shop.db", "query": query}}}

    history = load_history(parse_settings(document, "test", tmp_path), tmp_path / "out")

    assert rows_of(history, "orders", LINE) == EXPECTED


def test_a_refused_query_names_the_database_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    orders = {"url": "sqlite:///shop.db", "query": "SELECT * FROM nowhere"}
    document = {"currency": "GBP", "history": {"orders": orders}}

    with pytest.raises(SourceError, match=r"shop\.db refused the query: no such table: nowhere"):
        load_history(parse_settings(document, "test", tmp_path), tmp_path / "out")
    document["history"] = {"orders": {**orders, "url": "nosuch://ann:secret@host/db"}}
    with pytest.raises(ConfigError) as caught:
        load_history(parse_settings(document, "test", tmp_path), tmp_path / "out")
    assert "secret" not in str(caught.value)
    document["history"] = {"orders": {**orders, "url": "sqlite:///shoop.db"}}
    with pytest.raises(MissingFileError, match=r"shoop\.db"):
        load_history(parse_settings(document, "test", tmp_path), tmp_path / "out")


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("order_id", "", "missing-order_id"),
        ("product_id", "  ", "missing-product_id"),
        ("quantity", "", "missing-quantity"),
        ("quantity", "two", "unparsable-quantity"),
        ("quantity", "0", "zero-quantity"),
        ("quantity", "1e12", "absurd-quantity"),
        ("unit_price", "", "missing-unit_price"),
        ("unit_price", "n/a", "unparsable-unit_price"),
        ("unit_price", "0", "price-not-positive"),
        ("unit_price", "-5", "price-not-positive"),
        ("unit_price", "1e9", "absurd-unit_price"),
        ("unit_price", "1e99", "absurd-unit_price"),
        ("ordered_at", "yesterday", "unparsable-ordered_at"),
        ("ordered_at", "2024-02-30", "unparsable-ordered_at"),
        ("ordered_at", "1900-01-01", "absurd-ordered_at"),
        ("unit_cost", "cheap", "unparsable-unit_cost"),
        ("unit_cost", "-0.01", "negative-cost"),
    ],
)
def test_a_bad_cell_rejects_its_line_and_is_kept(tmp_path: Path, column: str, cell: str, rule: str) -> None:
    header = [*HEADER, "unit_cost"]
    bad = dict(zip(header, [*GOOD, "1.00"], strict=True)) | {column: cell}
    save(tmp_path, [header, [*GOOD, "1.00"], [*OTHER, ""], list(bad.values())])

    history = load(tmp_path)

    kept = rows_of(history, "rejects")
    assert kept == [("orders", 3, rule, column, cell.strip() or None)]
    assert history.reports["orders"].rejected_by_rule == {rule: 1}
    assert rows_of(history, "orders", LINE) == EXPECTED


def test_infinite_prices_of_a_parquet_file_are_absurd_and_nan_is_missing(tmp_path: Path) -> None:
    cells = dict(zip(HEADER, zip(GOOD, OTHER, GOOD, strict=True), strict=True)) | {
        "unit_price": (float("inf"), 5.0, float("nan"))
    }
    pq.write_table(pa.table({name: list(values) for name, values in cells.items()}), tmp_path / "a.parquet")

    history = load(tmp_path, {"path": "a.parquet"})

    assert rows_of(history, "rejects", "rule") == [("absurd-unit_price",), ("missing-unit_price",)]


def test_excluded_products_and_cancelled_orders_are_counted_not_rejected(tmp_path: Path) -> None:
    products = ["A1", "post", "FEE-9", "GIFT12", "B2"]
    states = ["paid", "", "", "", "Cancelled"]
    save(
        tmp_path,
        [
            [*HEADER, "status"],
            *(
                [*GOOD[:2], product, *GOOD[3:], state]
                for product, state in zip(products, states, strict=True)
            ),
        ],
    )

    history = load(tmp_path, exclude_products=["POST", "fee*", "/^gift[0-9]+$/"])

    report = history.reports["orders"]
    assert report.excluded_by_rule == {"excluded-product": 3, "cancelled-order": 1}
    assert (report.read, report.accepted, report.rejected) == (5, 1, 0)
    assert [row[0] for row in rows_of(history, "products", "product_id")] == ["A1"]


def test_returns_stay_lines_and_repeated_lines_are_kept_with_a_warning(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD, GOOD, ["C1", "7", "A1", "-2", "9.99", "2024-03-05"]])

    history = load(tmp_path)

    assert rows_of(history, "orders", "revenue") == [(1998,), (1998,), (-1998,)]
    assert history.reports["orders"].duplicates == 1
    assert any("repeats another exactly" in warning for warning in history.warnings)


def test_an_order_described_on_its_first_line_only_is_described_on_all(tmp_path: Path) -> None:
    header = [*HEADER, "status"]
    rows = [
        [*GOOD, "voided"],
        ["1001", "", "B2", "1", "5", "", ""],
        [*OTHER, "paid"],
        ["1002", "", "C3", "1", "5", "", ""],
    ]
    save(tmp_path, [header, *rows])

    history = load(tmp_path)

    assert history.reports["orders"].excluded_by_rule == {"cancelled-order": 2}
    assert rows_of(history, "orders", "customer_id, ordered_at") == [("8", datetime(2024, 3, 2, 11, 30))] * 2


prices = st.decimals("0.01", "999.99", places=2)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.tuples(st.integers(-3, 5).filter(bool), prices, st.decimals("0", "1", places=2)), min_size=1, max_size=8),
    discount=st.decimals("0", "50", places=2),
)  # fmt: skip
def test_the_shares_of_an_order_discount_sum_to_it_exactly(
    tmp_path: Path, lines: list[tuple[int, Decimal, Decimal]], discount: Decimal
) -> None:
    header = [*HEADER, "line_discount", "order_discount"]
    rows = [
        ["1", "7", f"P{at}", quantity, price, GOOD[5], off, discount]
        for at, (quantity, price, off) in enumerate(lines)
    ]
    save(tmp_path, [header, *rows])

    revenue = [amount for (amount,) in rows_of(load(tmp_path), "orders", "revenue")]

    net = [int(quantity * price * 100) - int(off * 100) for quantity, price, off in lines]
    bears = [
        amount if quantity > 0 and amount > 0 else 0
        for (quantity, *_), amount in zip(lines, net, strict=True)
    ]
    shared = int(discount * 100) if sum(bears) else 0
    assert sum(net) - sum(revenue) == shared
    for was, now, weight in zip(net, revenue, bears, strict=True):
        assert abs((was - now) - (shared * weight / sum(bears) if sum(bears) else 0)) <= 1


@pytest.mark.parametrize(("currency", "digits"), [("GBP", 2), ("JPY", 0), ("KWD", 3)])
def test_revenue_and_cost_are_exact_minor_units(tmp_path: Path, currency: str, digits: int) -> None:
    cells = [("0.125", "9.99", "4.5"), ("3", "0.333", ""), ("-1.5", "7.77", "1")]
    save(
        tmp_path,
        [
            [*HEADER, "unit_cost"],
            *([*GOOD[:3], quantity, price, GOOD[5], cost] for quantity, price, cost in cells),
        ],
    )

    history = load(tmp_path, currency=currency)

    def minor(quantity: str, amount: str) -> int | None:
        exact = Decimal(quantity) * Decimal(amount).scaleb(digits) if amount else None
        return None if exact is None else int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))

    assert rows_of(history, "orders", "revenue, cost") == [(minor(q, p), minor(q, c)) for q, p, c in cells]


def test_canonical_files_have_the_columns_and_types_of_the_domain(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD])

    history = load(tmp_path)

    for name, table in TABLES.items():
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{history.folder / f'{name}.parquet'}'").fetchall()
        types = [(column.name, SQL_TYPES[column.type]) for column in table.columns]
        extra = [("row", "BIGINT"), ("revenue", "BIGINT"), ("cost", "BIGINT")] if table is ORDERS else []
        assert [(column, kind) for column, kind, *_ in described] == types + extra
    assert rows_of(history, "customers") == []


def test_products_are_derived_with_their_last_price_and_usual_title(tmp_path: Path) -> None:
    rows = [
        ["1", "7", "B", "1", "5.00", "2024-03-01", "tea"],
        ["2", "7", "B", "1", "6.00", "2024-03-03", "Tea"],
        ["3", "7", "B", "-1", "4.00", "2024-03-04", "Tea"],
        ["4", "7", "a", "1", "2.00", "2024-03-02", ""],
    ]
    save(tmp_path, [[*HEADER, "title"], *rows])

    got = rows_of(load(tmp_path), "products", "product_id, title, price, hidden")

    assert got == [("B", "Tea", Decimal(6), None), ("a", "a", Decimal(2), None)]


def test_given_products_win_the_last_row_counts_and_unknown_ones_are_hidden(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD, OTHER])
    save(
        tmp_path,
        [
            ["product_id", "title", "unit_cost", "stock"],
            ["A1", "old", "1", "3"],
            ["A1", "Mug", "4.00", "3"],
            ["Z", "New", "", ""],
        ],
        "products.csv",
    )

    history = load(tmp_path, products={"path": "products.csv"})

    assert rows_of(history, "products", "product_id, title, price, stock, hidden") == [
        ("A1", "Mug", Decimal("9.99"), 3.0, None),
        ("B2", "B2", Decimal(5), None, True),
        ("Z", "New", None, None, None),
    ]
    assert rows_of(history, "orders", "cost") == [(800,), (None,)]
    report = history.reports["products"]
    assert (report.read, report.accepted, report.excluded_by_rule) == (3, 2, {"superseded": 1})
    assert any("not in the products table" in warning for warning in history.warnings)


def test_an_empty_consent_is_no_and_flags_come_in_many_words(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD])
    words = ["true", "Да", "1", "yes", "", "no", "нет", "0", "FALSE", "maybe"]
    save(
        tmp_path,
        [
            ["customer_id", "consent_email", "birth_date"],
            *([f"c{at}", word, "31.12.1955"] for at, word in enumerate(words)),
        ],
        "customers.csv",
    )

    history = load(tmp_path, customers={"path": "customers.csv"})

    got = rows_of(history, "customers", "consent_email, consent_sms, birth_date")
    assert [consent for consent, *_ in got] == [True] * 4 + [False] * 5
    assert {(sms, str(day)) for _, sms, day in got} == {(False, "1955-12-31")}
    assert history.reports["customers"].rejected_by_rule == {"unparsable-consent_email": 1}


def test_events_take_google_analytics_names_and_leave_other_events_out(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD])
    at = "2024-03-01 10:00"
    rows = [
        ["v1", "A1", "view_item", at],
        ["v1", "A1", "add-to-cart", at],
        ["v1", "A1", "purchase", at],
        ["v1", "A1", "dance", at],
        ["", "A1", "view_item", at],
    ]
    save(tmp_path, [["visitor_id", "product_id", "event", "occurred_at"], *rows], "events.csv")

    history = load(tmp_path, interactions={"path": "events.csv"})

    assert rows_of(history, "interactions", "event") == [("detail-page-view",), ("add-to-cart",)]
    assert history.reports["interactions"].excluded_by_rule == {"other-event": 1}
    assert history.reports["interactions"].rejected_by_rule == {"unknown-event": 1, "missing-visitor": 1}


def test_subscriptions_and_surveys_are_checked(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD])
    save(
        tmp_path,
        [
            ["customer_id", "product_id", "started_at", "ends_at"],
            ["7", "A1", "2024-01-01", "2024-12-31"],
            ["7", "A1", "2024-01-01", "2023-12-31"],
        ],
        "subs.csv",
    )
    save(
        tmp_path,
        [["kind", "score", "answered_at"], ["NPS", "9", "2024-01-01"], ["poll", "9", "2024-01-01"]],
        "surveys.csv",
    )

    history = load(tmp_path, subscriptions={"path": "subs.csv"}, surveys={"path": "surveys.csv"})

    assert history.reports["subscriptions"].rejected_by_rule == {"ends-before-start": 1}
    assert history.reports["surveys"].rejected_by_rule == {"unknown-kind": 1}
    assert rows_of(history, "surveys", "kind, score") == [("nps", 9.0)]


cell = {
    "order_id": st.sampled_from(["1", "2", "", "A"]),
    "customer_id": st.sampled_from(["7", "8", ""]),
    "product_id": st.sampled_from(["A1", "POST", "", "x"]),
    "quantity": st.sampled_from(["1", "2.5", "-1", "0", "many", ""]),
    "unit_price": st.sampled_from(["1.50", "0", "-2", "dear", "1e300", "12"]),
    "ordered_at": st.sampled_from(["2024-03-01", "2024-03-01 10:00:05", "someday", "0001-01-01", ""]),
    "status": st.sampled_from(["", "paid", "cancelled"]),
}
line = st.tuples(*cell.values())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(line, max_size=12), order=st.randoms(use_true_random=False))
def test_every_row_is_accounted_for_whatever_the_order_and_whatever_good_rows_join(
    tmp_path: Path, lines: list[tuple[str, ...]], order: Any
) -> None:
    good = [("9", "9", f"G{at}", "1", "2.00", "2024-05-05", "paid") for at in range(14)]

    def outcome(rows: list[tuple[str, ...]]) -> tuple[Counter[Any], Counter[Any]]:
        save(tmp_path, [list(cell), *rows])
        history = load(tmp_path, exclude_products=["POST"])
        report = history.reports["orders"]
        assert report.read == len(rows) == report.accepted + report.rejected + report.excluded
        assert report.rejected == sum(report.rejected_by_rule.values())
        assert report.excluded == sum(report.excluded_by_rule.values())
        accepted = rows_of(history, "orders", f"{LINE}, revenue")
        assert len(accepted) == report.accepted
        return Counter(accepted), Counter(rows_of(history, "rejects", "rule, value"))

    accepted, rejected = outcome([*good, *lines])
    shuffled = [*good, *lines]
    order.shuffle(shuffled)
    assert outcome(shuffled) == (accepted, rejected)
    more_accepted, more_rejected = outcome([*good, *lines, *good])
    assert more_rejected == rejected
    assert more_accepted - accepted == outcome(good)[0]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    save(
        tmp_path,
        [
            [*HEADER, "title"],
            *([str(at), f"c{at % 7}", f"p{at % 5}", "1", "2.5", GOOD[5], "t"] for at in range(500)),
        ],
    )

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in load(tmp_path).folder.glob("*.parquet")}

    assert contents() == contents()


# ---------------------------------------------------------------- bad input: one clear message each


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD], "order.csv")

    with pytest.raises(MissingFileError, match=r"no file .*orders\.csv; did you mean 'order\.csv'"):
        load(tmp_path)
    with pytest.raises(MissingFileError, match=r"no file matches"):
        load(tmp_path, {"path": "x*.parquet"})
    with pytest.raises(MissingFileError, match=r"is a folder"):
        load(tmp_path, {"path": "."})


def test_every_fault_of_a_mapping_is_listed_with_the_nearest_column(tmp_path: Path) -> None:
    save(
        tmp_path,
        [["InvoiceNo", "StockCode", "quantity", "price", "ordered_at"], ["1", "2", "3", "4", "2024-01-01"]],
    )

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {"columns": {"order_id": "Invoice No", "prodct_id": "StockCode"}})

    message = str(caught.value)
    assert "no column 'Invoice No'; did you mean 'InvoiceNo'?" in message
    assert "unknown column; did you mean 'product_id'?" in message
    assert "columns.unit_price is not mapped" in message and "did you mean 'price'?" in message
    assert "InvoiceNo, StockCode, quantity, price, ordered_at" in message


def test_a_column_of_the_wrong_type_is_one_error_with_rows(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, *([*GOOD[:4], "mug", GOOD[5]] for _ in range(1200))])

    with pytest.raises(
        BadColumnError,
        match=r"orders\.unit_price must be an amount.*column 'unit_price'; 1,200 rows are not \(row 1 is 'mug'",
    ):
        load(tmp_path)


def test_too_many_rejects_stop_the_job_and_are_kept(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, *[GOOD] * 90, *[[*GOOD[:4], "0", GOOD[5]]] * 10])

    with pytest.raises(
        TooManyRejectsError,
        match=r"10 of 100 rows .*10\.0%.*2\.0%(.|\n)*10 × price-not-positive; row 91: unit_price is '0'(.|\n)*rejects\.parquet",
    ):
        load(tmp_path, max_reject_share=0.02)
    assert pq.read_table(tmp_path / "out" / "rejects.parquet").num_rows == 10
    assert load(tmp_path, max_reject_share=0.1).reports["orders"].rejected == 10


def test_the_list_of_rejects_outlives_the_jobs_folder(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, *[GOOD] * 9, [*GOOD[:4], "0", GOOD[5]]])
    (tmp_path / "models" / ".work").mkdir(parents=True)

    with pytest.raises(TooManyRejectsError, match=r"listed in .*/models/\.work/rejects\.parquet"):
        load(tmp_path, max_reject_share=0.02)
    assert pq.read_table(tmp_path / "models" / ".work" / "rejects.parquet").num_rows == 1


def test_empty_files_and_tables_say_so(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").touch()
    with pytest.raises(EmptyTableError, match=r"orders\.csv is empty"):
        load(tmp_path)
    save(tmp_path, [HEADER])
    with pytest.raises(EmptyTableError, match=r"has no row; it needs one per order line"):
        load(tmp_path)
    save(tmp_path, [HEADER, GOOD])
    with pytest.raises(EmptyTableError, match=r"all of them excluded"):
        load(tmp_path, exclude_products=["*"])


def test_bytes_that_are_neither_utf_8_nor_windows_1251_are_named_by_their_offset(tmp_path: Path) -> None:
    good = text_of([HEADER, GOOD]).encode()
    (tmp_path / "orders.csv").write_bytes(good + b"1003,Caf\xe9,A1,1,2.00,2024-03-01\n")

    with pytest.raises(
        SourceError, match=rf"byte 0xe9 at offset {len(good) + 8:,} is neither UTF-8 nor windows-1251"
    ):
        load(tmp_path)
    got = rows_of(load(tmp_path, {"encoding": "latin-1"}), "orders", "customer_id")
    assert got == [("7",), ("Café",)]
    with pytest.raises(SourceError, match=r"is not utf-8"):
        load(tmp_path, {"encoding": "utf-8"})
    with pytest.raises(ConfigError, match=r"unknown encoding 'klingon'"):
        load(tmp_path, {"encoding": "klingon"})


def test_a_spreadsheet_a_broken_parquet_file_and_a_bad_pattern_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(SourceError, match="save it as CSV"):
        load(tmp_path)
    (tmp_path / "orders.csv").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        load(tmp_path)
    save(tmp_path, [HEADER, GOOD])
    with pytest.raises(ConfigError, match="is no pattern"):
        load(tmp_path, exclude_products=["/(/"])


def test_a_history_shorter_than_a_year_and_mixed_case_ids_are_warned_of(tmp_path: Path) -> None:
    save(tmp_path, [HEADER, GOOD, ["1002", "8", "a1", *OTHER[3:]]])

    warnings = "\n".join(load(tmp_path).warnings)

    assert "less than a year" in warnings
    assert "product_id differs from another only in upper and lower case" in warnings
    assert "no customers table" in warnings


@pytest.mark.realdata
def test_all_541909_lines_of_online_retail_are_accounted_for(tmp_path: Path) -> None:
    folder = os.environ.get("NEXTOFFER_REALDATA")
    if not folder:
        pytest.skip("NEXTOFFER_REALDATA is not set")
    path = f"{folder}/online_retail/online_retail.parquet"
    columns = {
        "order_id": "InvoiceNo",
        "product_id": "StockCode",
        "quantity": "Quantity",
        "ordered_at": "InvoiceDate",
        "unit_price": "UnitPrice",
        "customer_id": "CustomerID",
    }

    report = load(tmp_path, {"path": path, "columns": columns}).reports["orders"]

    raw = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (UnitPrice <= 0), count(*) FILTER (UnitPrice > 0 AND CustomerID IS NULL) FROM '{path}'"
    ).fetchall()[0]
    assert raw == (541_909, report.rejected, report.guests)
    assert (report.read, report.accepted) == (541_909, 541_909 - report.rejected)
