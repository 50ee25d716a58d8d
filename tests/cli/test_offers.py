"""`nextoffer offers` on the command line: a report, or one clear message and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run


def test_a_shop_without_rules_is_told_how_to_write_one(trained: Path, nextoffer: Run) -> None:
    said = nextoffer(trained, "offers")
    assert said.code == 0 and "offers.toml" in said.out
    assert json.loads(nextoffer(trained, "offers", "--json").out)["rules"] == []


def test_the_report_is_one_json_document(trained: Path, nextoffer: Run) -> None:
    (trained / "offers.toml").write_text(
        '[a]\nproduct = "p00"\n[b]\nproduct = "p000"\n[c]\ncategory = "Tea"\n'
    )
    document = json.loads(nextoffer(trained, "offers", "--json").out)
    one, two, three = document["rules"]
    assert one["reached"] == document["customers"] == 120
    assert one["consent"] is None  # the shop has no customer table
    assert two["notes"] == ["product 'p000' is not in the catalogue; did you mean 'p00'?"]
    assert three["notes"] == [
        "category: there is no category 'Tea'"
    ]  # nor any other: the shop has orders alone


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[a]\nprodct = "p"\n', "a.prodct: unknown key; did you mean 'product'?"),
        ('[a]\nincentive = { type = "percent", value = 120 }\n', "a discount of 120 % is above 100 %"),
        ("[a]\nfrom = 2026-12-24\nuntil = 2026-12-01\n", "swap them"),
        ("[a\n", "not valid TOML"),
    ],
)
def test_bad_rules_are_one_message_and_exit_code_2(
    text: str, fault: str, trained: Path, nextoffer: Run
) -> None:
    (trained / "offers.toml").write_text(text)
    said = nextoffer(trained, "offers")
    assert said.code == 2 and said.out == ""
    assert "offers.toml has 1 fault" in said.message and fault in said.message


def test_check_reads_the_rules_too(trained: Path, nextoffer: Run) -> None:
    (trained / "offers.toml").write_text("[a]\nkin = 1\n")
    assert nextoffer(trained, "check").code == 2


def test_an_export_names_rules_that_name_what_is_not_there(trained: Path, nextoffer: Run) -> None:
    (trained / "offers.toml").write_text('[a]\nproduct = "gone-for-good"\n')
    said = nextoffer(trained, "export", "monday-mail", "--out", "mail.csv", "--date", "2026-11-02")
    assert said.code == 0
    assert "Note: rule a: product 'gone-for-good' is not in the catalogue." in said.message


def test_a_rule_is_on_the_slate_it_wins_in_the_marketers_words(trained: Path, nextoffer: Run) -> None:
    (trained / "offers.toml").write_text(
        f"[mine]\nproducts = {[f'p{n:02d}' for n in range(40)]}\n"
        'pinned = true\ntext = { en = "Because we like it." }\n'
        "from = 2026-01-01\nuntil = 2099-12-31\n"
        '[gone]\nproduct = "p01"\npinned = true\nuntil = 2020-01-01\n'
    )
    asked = ("recommend", "c001", "--json")
    slate = json.loads(nextoffer(trained, *asked).out)["offers"]
    assert (slate[0]["rule"], slate[0]["reason"]["text"]) == ("mine", "Because we like it.")
    assert {offer.get("rule") for offer in slate} <= {"mine", None}
    russian = json.loads(nextoffer(trained, *asked, "--language", "ru").out)["offers"][0]
    assert russian["reason"]["code"] == "hand-picked" and russian["reason"]["text"] != "Because we like it."
    assert nextoffer(trained, "recommend", "--all", "--out", "all.parquet").code == 0
