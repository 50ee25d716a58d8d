"""Ad audiences: the hashes platforms publish, nobody in clear, everybody once."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from nextoffer.channels.ads import ADS, PLATFORMS, hashed, phone_digits, valid, write
from nextoffer.channels.channel import Message
from nextoffer.config import Campaign
from nextoffer.errors import CampaignError

Make = Callable[..., Message]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


@pytest.mark.parametrize(
    ("platform", "address", "expected"),
    [
        # published by Yandex
        ("yandex", {"email": "mail@yandex.ru"}, ("3c56ff8fef0f6c65b36b2d25720fe276", "")),
        ("yandex", {"phone": "+7 999 555-11-11"}, ("", "f09f2c3d48f31e2a802944ade2e5aec5")),
        # SHA-256 of test@gmail.com, +79995551111 and 79995551111
        (
            "google",
            {"email": "test@gmail.com", "phone": "8 (999) 555-11-11"},
            (
                "87924606b4131a8aceeeae8868531fbb9712aaa07a5d3a756b26ce0f5d6ca674",
                "86cc60992d2e0fde2e5511d462b755057f8f5c6b259a1ff7c2eee2ea284eb113",
            ),
        ),
        (
            "meta",
            {"email": " Test@Gmail.com ", "phone": "007 999 5551111"},
            (
                "87924606b4131a8aceeeae8868531fbb9712aaa07a5d3a756b26ce0f5d6ca674",
                "22846ab8f79870871eb44f653419a4a5069301827d8ae75b6c2a88e4989a364e",
            ),
        ),
    ],
)
def test_hashes_are_those_the_platforms_know(
    message: Make, platform: str, address: dict[str, str], expected: tuple[str, str]
):
    assert hashed(PLATFORMS[platform], message("1", address=address)) == expected


def test_a_file_has_the_platform_s_columns_hashes_alone_and_each_person_once(message: Make, tmp_path: Path):
    people = [
        message("b", address={"email": "b@example.com", "phone": "+442079460000"}),
        message("a", address={"email": "a@example.com"}),
        message("c", address={"email": "A@example.com"}),  # the same person under another id
    ]
    for platform, header in (
        ("meta", ["email", "phone"]),
        ("google", ["Email", "Phone"]),
        ("yandex", ["email", "phone"]),
    ):
        one, two = tmp_path / f"{platform}-1", tmp_path / f"{platform}-2"
        campaign = Campaign(channel="ads", format=platform)
        assert write(one, people, campaign) == write(two, people[::-1], campaign) == {}
        table = rows_of(one)
        assert table[0] == header
        assert len(table) == 3
        assert all(re.fullmatch(r"([0-9a-f]{32}|[0-9a-f]{64})?", cell) for line in table[1:] for cell in line)
        assert table[1:] == sorted(table[1:])
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_mode & 0o777 == 0o600
        assert sha256(b"").hexdigest() not in one.read_text()  # what is empty stays empty
        assert "example" not in one.read_text() and "Ann" not in one.read_text()


def test_meta_is_the_usual_platform_and_a_customer_without_address_is_refused(message: Make, tmp_path: Path):
    write(tmp_path / "a", [message("1", address={"email": "a@example.com"})], Campaign(channel="ads"))
    assert rows_of(tmp_path / "a")[1][0] == sha256(b"a@example.com").hexdigest()
    assert ADS.consent == "consent_ads"
    with pytest.raises(CampaignError, match="neither an e-mail address nor a phone"):
        write(tmp_path / "b", [message("1", address={})], Campaign(channel="ads"))
    with pytest.raises(CampaignError, match="did you mean 'google'"):
        write(tmp_path / "b", [], Campaign(channel="ads", format="gogle"))


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("+7 (999) 555-11-11", "79995551111"),
        ("8 999 555 11 11", "79995551111"),
        ("+49 30 12345", ""),  # too short to be sure
        ("+49 30 1234567", "49301234567"),
        ("0049 30 1234567", "49301234567"),
        ("020 7946 0000", ""),  # which country?
        ("9995551111", ""),
        ("12125550100", "12125550100"),
        ("+81234567890", "81234567890"),  # Japan, not Russia's 8
        ("+1 212 555 0100 ext. 3", ""),
        ("call me", ""),
        ("", ""),
        ("1" * 16, ""),
    ],
)
def test_a_phone_number_is_known_with_its_country_s_code_only(text: str, digits: str):
    assert phone_digits(text) == digits
    assert valid("phone", pa.array([text])).tolist() == [bool(digits)]


def test_an_address_may_have_blanks_around_it():
    assert valid("email", pa.array([" a@example.com ", "a b@example.com"])).tolist() == [True, False]
