"""Campaign files: what each service takes, safe in a spreadsheet, whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.channels.conftest import BASKET, OFFER

from nextoffer.channels.cells import cut_bytes, safe_cell
from nextoffer.channels.channel import Message
from nextoffer.channels.email import EMAIL, FORMATS, are_emails, write
from nextoffer.config import Campaign
from nextoffer.domain.offers import Offer, Reason, Slate
from nextoffer.errors import CampaignError


def row(
    customer_id: str = "17850", *offers: Offer, email: str | None = None, **changes: str | None
) -> Message:
    message = Message(
        address={"email": email or f"c{customer_id}@example.com"},
        first_name="Ann",
        locale="en",
        customer_id=customer_id,
        decision_id="d1",
        segment="at_risk",
        slate=Slate(customer_id, "b1", "GBP", "at_risk", None, offers or (OFFER,)),
        at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    return replace(message, **changes)  # type: ignore[arg-type]


def write_csv(path: Path, rows: list[Message], format: str | None = None) -> None:
    assert write(path, rows, Campaign(format=format)) == {}


def is_email(text: str | None) -> bool:
    return bool(are_emails(pa.array([text], pa.string()))[0])


def written(path: Path, rows: list[Message], format: str | None = None) -> list[list[str]]:
    write_csv(path, rows, format)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_the_generic_file_has_the_columns_of_the_interface(tmp_path):
    table = written(tmp_path / "out.csv", [row("1"), row("2", OFFER, OFFER)])

    who = ["email", "first_name", "locale", "customer_id", "decision_id", "segment"]
    parts = (
        "kind title url image_url list_price final_price code valid_until reason incentive min_order".split()
    )
    assert table[0] == who + [f"offer{n}_{part}" for n in (1, 2) for part in parts]
    assert table[1][:8] == [
        "c1@example.com",
        "Ann",
        "en",
        "1",
        "d1",
        "at_risk",
        "win_back",
        "White hanging heart",
    ]
    assert table[1][13] == "2026-12-06T23:59:59Z"
    assert table[1][12] == "BACK10"
    assert table[1][15:17] == ["10% off", "30.00"]
    assert table[1][17:] == [""] * 11
    assert table[2][17:] == table[2][6:17]


def test_an_offer_on_the_whole_basket_has_its_words_and_no_product(tmp_path):
    for name in FORMATS:
        table = written(tmp_path / name, [row("1", BASKET)], name)
        cells = dict(zip(table[0], table[1], strict=True))
        texts = [cell for cell in table[1] if cell]
        assert texts.count("£5.00 off the whole order") == 2  # the title, and what is gained
        assert "30.00" in texts
        assert not [cell for cell in cells.values() if "2.55" in cell or cell.startswith("http")]


def test_mailchimp_merge_tags_are_at_most_ten_capitals_and_texts_at_most_255_bytes(tmp_path):
    long = replace(OFFER, title="Ж" * 200, url="https://shop.example/" + "x" * 300)
    table = written(tmp_path / "out.csv", [row("1", long, *[OFFER] * 11)], "mailchimp")

    assert table[0][:2] == ["Email Address", "First Name"]
    tags = table[0][2:]
    assert {"OFFER1", "OFFER1URL", "OFFER12IMG"} <= set(tags)
    assert all(re.fullmatch(r"[A-Z0-9_]{1,10}", tag) for tag in tags)
    assert len(set(tags)) == len(tags)
    assert all(len(cell.encode()) <= 255 for cell in table[1])
    cells = dict(zip(table[0], table[1], strict=True))
    assert cells["OFFER1"] == "Ж" * 127
    assert cells["OFFER1URL"] == ""  # half a link leads nowhere


def test_unisender_gets_its_field_names_and_no_more_custom_fields_than_it_takes(tmp_path):
    table = written(tmp_path / "out.csv", [row("1", *[OFFER] * 4)], "unisender")

    assert table[0][0] == "email"
    assert len(table[0]) - 1 <= 50
    assert not {"phone", "tags", "delete", "email_status"} & set(table[0])
    with pytest.raises(CampaignError, match="set n = 4 or less"):
        write_csv(tmp_path / "more.csv", [row("1", *[OFFER] * 5)], "unisender")
    assert not (tmp_path / "more.csv").exists()


def test_a_format_of_another_channel_is_refused_and_none_is_the_usual_one(tmp_path):
    assert written(tmp_path / "a", [row()]) == written(tmp_path / "b", [row()], "csv")
    with pytest.raises(CampaignError, match='"fcm" is not one of channel "email"; there are: csv, mailchimp'):
        write_csv(tmp_path / "x", [row()], "fcm")
    assert EMAIL.format(Campaign(format="mailchimp")) == "mailchimp"


def test_an_empty_file_says_which_columns_will_come(tmp_path):
    for name in FORMATS:
        assert written(tmp_path / name, [], name)[0] == written(tmp_path / name, [row()], name)[0]


def test_the_order_of_the_rows_given_is_irrelevant(tmp_path):
    rows = [row("b"), row("a"), row("ж"), row("B")]
    write_csv(tmp_path / "one.csv", rows)
    write_csv(tmp_path / "two.csv", rows[::-1])

    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert [line[3] for line in written(tmp_path / "one.csv", rows)][1:] == ["B", "a", "b", "ж"]


@pytest.mark.parametrize(
    "attack",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        '"=1',
        "'=1",
        "\ufeff=1",
        "\u00a0=1",
        "＝1",
        "Ann;=cmd|'/C calc'!A0",
        "Ann\t=1",
        'Ann;"=1',
        "\tplain",
    ],
)
def test_no_cell_starts_a_formula_however_it_is_dressed(tmp_path, attack):
    offer = replace(OFFER, title=attack, reason=Reason("x", attack), incentive_text=attack, code=attack)
    for name in FORMATS:
        for line in written(tmp_path / name, [row("1", offer, first_name=attack, segment=attack)], name):
            for cell in line:
                assert not re.match(r"[=+\-@\t\r\n＝]", cell)
                pieces = re.split(r"[;\t\r\n]", cell)
                assert not [piece for piece in pieces if re.match(r"[\s\"]*[=+\-@＝]", piece)]


@given(st.text(max_size=40))
def test_a_safe_cell_never_starts_a_formula_and_a_harmless_one_is_left_alone(text):
    safe = safe_cell(text)

    assert not re.match(r"[\s\"]*[=+\-@]", safe)
    assert safe.replace("'", "") == text.replace("'", "")
    if re.fullmatch(r"[\w .,:/%]*", text) and not text.startswith(tuple(" ")):
        assert safe == text
    assert safe_cell("2.55") == "2.55"


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), st.integers(1, 3)),
        max_size=4,
    )
)
def test_whatever_is_in_a_cell_the_table_keeps_its_shape(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("shape") / "out.csv"
    rows = [
        row(str(i), *[replace(OFFER, title=text)] * n, first_name=text.replace("\x00", ""))
        for i, (text, n) in enumerate(cells)
    ]
    table = written(path, rows)

    assert len(table) == len(rows) + 1
    assert {len(line) for line in table} == {len(table[0])}


def test_an_address_that_is_none_and_a_second_message_are_refused(tmp_path):
    with pytest.raises(CampaignError, match="email is not an address"):
        write_csv(tmp_path / "x.csv", [row(email="ann@example.com\nbcc: all@example.com")])
    with pytest.raises(CampaignError, match="two messages"):
        write_csv(tmp_path / "x.csv", [row("1"), row("1")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", True),
        ("ann.b+tag@mail.example.co.uk", True),
        ("анна@почта.рф", True),
        ("_a@localhost", True),
        ("", False),
        (None, False),
        ("ann", False),
        ("ann@", False),
        ("@example.com", False),
        ("a@b@c", False),
        ("a b@example.com", False),
        ("a@exam ple.com", False),
        ("a\u00a0b@example.com", False),
        ("a\u2028@example.com", False),
        ("a@example.com,b@example.com", False),
        ("<a@example.com>", False),
        ("=cmd@example.com", False),
        ("+a@example.com", False),
        ("a@example.com\n", False),
        ("a" * 250 + "@x.de", False),
    ],
)
def test_what_can_be_an_address(text, expected):
    assert is_email(text) is expected


@given(st.text(max_size=100), st.integers(0, 60))
def test_a_cut_text_is_a_start_of_it_and_fits(text, most):
    text = text.encode("utf-8", "ignore").decode()
    cut = cut_bytes(text, most)

    assert text.startswith(cut)
    assert len(cut.encode()) <= most
    if cut != text:
        assert len(text[: len(cut) + 1].encode()) > most


def test_a_disk_that_fills_up_leaves_the_last_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    write_csv(path, [row("1")])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CampaignError, match=r"out\.csv cannot be written: No space left"):
        write_csv(path, [row("1"), row("2")])

    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_that_is_not_there_is_one_clear_message(tmp_path):
    with pytest.raises(CampaignError, match="No such file or directory"):
        write_csv(tmp_path / "nowhere" / "out.csv", [row()])


def test_only_its_owner_may_read_the_file(tmp_path):
    write_csv(tmp_path / "out.csv", [row()])

    assert (tmp_path / "out.csv").stat().st_mode & 0o077 == 0


def test_moments_are_written_in_utc(tmp_path):
    moscow = replace(OFFER, valid_until=datetime(2026, 12, 7, 1, 0, tzinfo=ZoneInfo("Europe/Moscow")))
    naive = replace(OFFER, valid_until=datetime(2026, 12, 6, 22, 0, tzinfo=UTC).replace(tzinfo=None))
    table = written(tmp_path / "out.csv", [row("1", moscow), row("2", naive)])

    assert table[1][13] == table[2][13] == "2026-12-06T22:00:00Z"
