"""`init` proposes a mapping that loads without editing, and `check` accounts for every row of it."""

# ruff: noqa: E501  (rows of test tables stay on one line)

from __future__ import annotations

import csv
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from nextoffer.config import Settings, load_settings
from nextoffer.domain.history import History
from nextoffer.errors import ConfigError
from nextoffer.sources.load import load_history
from nextoffer.sources.propose import Proposal, config_text, propose
from nextoffer.sources.report import check_json, check_report


def save(path: Path, rows: Sequence[Sequence[object]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def unedited(proposal: Proposal, folder: Path) -> tuple[History, Settings]:
    (folder / "nextoffer.toml").write_text(config_text(proposal, folder), encoding="utf-8")
    settings = load_settings(folder / "nextoffer.toml", {})
    return load_history(settings, folder / "out"), settings


def mapped(proposal: Proposal) -> dict[str, str]:
    return {name: column for name, (column, _, _) in proposal.columns.items()}


def uci(folder: Path) -> Path:
    rows: list[list[object]] = [
        [536365 + order, f"{22000 + item}A", f"MUG {item}", 1 + item, f"12/{1 + order % 28}/2010 8:26", 2.55, f"{17850 + order % 9}.0", "United Kingdom"]
        for order in range(60)
        for item in range(3)
    ]  # fmt: skip
    extra = [
        ["POST", "POSTAGE"],
        ["DCGSSGIRL", "GIRLS PARTY BAG"],
        ["BANK CHARGES", "Bank Charges"],
        ["C2", "CARRIAGE"],
    ]
    rows += [
        [536365, code, title, 1, "12/1/2010 8:26", 18, "17850.0", "United Kingdom"] for code, title in extra
    ]
    rows += [
        [536365, f"{30000 + item}", "TOY COFFEE SET", 1, "12/1/2010 8:26", 1, "", "United Kingdom"]
        for item in range(90)
    ]
    header = [
        "InvoiceNo",
        "StockCode",
        "Description",
        "Quantity",
        "InvoiceDate",
        "UnitPrice",
        "CustomerID",
        "Country",
    ]
    return save(folder / "uci.csv", [header, *rows])


def test_a_uci_export_is_proposed_whole_with_its_postage_left_out(tmp_path: Path) -> None:
    proposal = propose(uci(tmp_path))
    history, _ = unedited(proposal, tmp_path)

    assert mapped(proposal) == {
        "order_id": "InvoiceNo", "customer_id": "CustomerID", "product_id": "StockCode", "quantity": "Quantity",
        "unit_price": "UnitPrice", "ordered_at": "InvoiceDate", "title": "Description",
    }  # fmt: skip
    assert (proposal.currency, proposal.timezone) == ("GBP", "Europe/London")
    assert [code for code, _ in proposal.exclude_products] == ["BANK CHARGES", "C2", "POST"]
    report = history.reports["orders"]
    assert (report.read, report.accepted, report.excluded, report.guests) == (274, 271, 3, 90)


def test_a_shopify_export_is_proposed_whole(tmp_path: Path) -> None:
    header = (
        "Name,Email,Financial Status,Paid at,Currency,Total,Discount Code,Discount Amount,Created at,"
        "Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Country,Vendor,Id,Lineitem discount"
    ).split(",")
    rows = [
        [f"#{1001 + order}", f"c{order % 9}@x.org", *(["voided" if order == 3 else "paid", f"2024-01-{1 + order % 28:02d} 10:00:00 +0100", "EUR", "30", "", "3.00"] if item == 0 else [""] * 6), f"2024-01-{1 + order % 28:02d} 09:00:00 +0100", 1 + item, f"Tea {item}", f"{9 + item}.90", f"T-{item}", "DE", "Teehaus", "", "0.00"]
        for order in range(30)
        for item in range(2)
    ]  # fmt: skip
    proposal = propose(save(tmp_path / "shopify.csv", [header, *rows]))
    history, _ = unedited(proposal, tmp_path)

    got = mapped(proposal)
    assert got["order_id"] == "Name" and got["customer_id"] == "Email" and got["product_id"] == "Lineitem sku"
    assert got["ordered_at"] == "Created at" and got["unit_price"] == "Lineitem price"
    assert got["status"] == "Financial Status" and got["order_discount"] == "Discount Amount"
    assert proposal.currency == "EUR"
    assert history.reports["orders"].excluded_by_rule == {"cancelled-order": 2}
    sums = duckdb.sql(
        f"SELECT DISTINCT revenue FROM (SELECT sum(revenue) AS revenue FROM '{tmp_path}/out/orders.parquet' GROUP BY order_id)"
    )
    assert sums.fetchall() == [(990 + 2 * 1090 - 300,)]


def test_a_russian_export_in_windows_1251_is_proposed_whole(tmp_path: Path) -> None:
    header = [
        "Номер",
        "Дата создания",
        "Статус",
        "Клиент",
        "E-mail",
        "Артикул",
        "Товар",
        "Количество",
        "Цена",
    ]
    rows = [
        [f"{700 + order}А", f"{1 + order % 28:02d}.03.2024 10:15", "Выполнен", "Иванов", f"i{order % 8}@x.ru", f"А-{item:04d}", f"Чай «Зелёный; {item}»", 1, "1 200,50"]
        for order in range(30)
        for item in range(2)
    ]  # fmt: skip
    rows.append(["900А", "01.03.2024 10:00", "Отменён", "Петров", "p@x.ru", "DLV-1", "Доставка", 1, "300,00"])
    proposal = propose(save(tmp_path / "crm.csv", [header, *rows], "cp1251", ";"))
    history, _ = unedited(proposal, tmp_path)

    assert mapped(proposal) == {
        "order_id": "Номер", "customer_id": "E-mail", "product_id": "Артикул", "quantity": "Количество",
        "unit_price": "Цена", "ordered_at": "Дата создания", "status": "Статус", "title": "Товар",
    }  # fmt: skip
    assert (proposal.delimiter, proposal.decimal, proposal.currency) == (";", ",", "RUB")
    assert proposal.exclude_products == (("DLV-1", "Доставка"),)
    assert history.reports["orders"].accepted == 60


def test_a_woocommerce_export_is_proposed_whole(tmp_path: Path) -> None:
    header = [
        "order_id",
        "order_date",
        "status",
        "customer_id",
        "billing_email",
        "sku",
        "product_name",
        "quantity",
        "item_price",
    ]
    rows = [
        [
            500 + at,
            f"2024-02-{1 + at % 28:02d} 12:00:00",
            "wc-completed",
            at % 9,
            "a@b.c",
            f"W{at % 5}",
            "Soap",
            1,
            "3.50",
        ]
        for at in range(40)
    ]
    proposal = propose(save(tmp_path / "woo.csv", [header, *rows]))

    assert mapped(proposal)["customer_id"] == "customer_id" and mapped(proposal)["unit_price"] == "item_price"
    assert unedited(proposal, tmp_path)[0].reports["orders"].accepted == 40


def test_names_that_say_nothing_are_guessed_from_values_and_what_is_missing_is_said(tmp_path: Path) -> None:
    rows = [
        [f"T{at}", f"U{at % 7}", 1 + item, f"{1.5 + item}", f"2024-05-{1 + at % 28:02d} 10:{at:02d}:00"]
        for at in range(50)
        for item in range(3)
    ]
    proposal = propose(save(tmp_path / "blank.csv", [["a", "b", "c", "d", "e"], *rows]))

    assert mapped(proposal) == {"order_id": "a", "quantity": "c", "unit_price": "d", "ordered_at": "e"}
    assert "# not found: which column holds the product's code or id?" in config_text(proposal, tmp_path)
    with pytest.raises(ConfigError, match=r"columns\.product_id is not mapped"):
        unedited(proposal, tmp_path)


def test_a_blank_form_is_valid_toml_with_a_comment_for_every_column(tmp_path: Path) -> None:
    text = config_text(None, tmp_path)

    assert tomllib.loads(text)["history"]["orders"] == {"path": "orders.csv", "columns": {}}
    assert "# ordered_at" in text


def test_the_report_shows_every_count_an_example_and_the_next_command(tmp_path: Path) -> None:
    path = uci(tmp_path)
    path.write_text(path.read_text() + "9,22000A,MUG,0,12/2/2010 9:00,2.5,17850.0,United Kingdom\n")
    history, settings = unedited(propose(path), tmp_path)
    console = Console(width=140, record=True, file=(tmp_path / "shown.txt").open("w"))

    console.print(check_report(history, settings))
    console.file.close()

    shown = console.export_text()
    for text in (
        "275",
        "271",
        "zero-quantity",
        "row 275: quantity is 0",
        "excluded-product",
        "nextoffer train",
    ):
        assert text in shown
    assert "[history.customers]" in shown and "less than a year" in shown
    document = check_json(history)
    table = document["tables"]["orders"]
    assert table["read"] == table["accepted"] + table["rejected"] + table["excluded"] == 275
    assert (document["orders"], document["customers"], document["orders_by_month"]) == (
        60,
        9,
        {"2010-12": 60},
    )


@pytest.mark.realdata
@pytest.mark.parametrize("style", ["iso", "uci"])
def test_online_retail_as_csv_goes_from_init_to_check_without_editing(tmp_path: Path, style: str) -> None:
    folder = os.environ.get("NEXTOFFER_REALDATA")
    if not folder:
        pytest.skip("NEXTOFFER_REALDATA is not set")
    import pandas as pd

    frame = pd.read_parquet(f"{folder}/online_retail/online_retail.parquet")
    if style == "uci":
        frame["InvoiceDate"] = frame["InvoiceDate"].dt.strftime("%-m/%-d/%Y %-H:%M")
        frame["CustomerID"] = frame["CustomerID"].astype("float64")
    frame.to_csv(tmp_path / "online_retail.csv", index=False)

    proposal = propose(tmp_path / "online_retail.csv")
    history, _ = unedited(proposal, tmp_path)

    left_out = {code for code, _ in proposal.exclude_products}
    assert {"POST", "D", "DOT", "M", "S", "BANK CHARGES", "AMAZONFEE", "CRUK", "PADS", "B", "C2"} <= left_out
    assert not left_out & {"DCGSSGIRL", "DCGSSBOY"}
    report = history.reports["orders"]
    assert report.read == 541_909 == report.accepted + report.rejected + report.excluded
    gone = frame["StockCode"].str.upper().isin({code.upper() for code in left_out})
    assert report.excluded == int(gone.sum())
    assert report.rejected == int((~gone & (frame["UnitPrice"] <= 0)).sum())
    found = duckdb.sql(
        f"SELECT count(*) FROM '{tmp_path}/out/orders.parquet' WHERE customer_id = '17850'"
    ).fetchall()[0]
    assert found == (int((~gone & (frame["UnitPrice"] > 0) & (frame["CustomerID"] == 17850)).sum()),)
