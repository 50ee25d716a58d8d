"""The terminal's report: short unless all is asked for, never wider than the screen, nothing cut off."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.measurement.documents import DOCUMENTS, document, readout, sheets

from nextoffer.measurement.render import rendered
from nextoffer.measurement.sheet import Column, Sheet
from nextoffer.texts import LANGUAGES


def shown(case: str, language: str = "en", width: int = 80, full: bool = True, n_rows: int = 5) -> str:
    return printed(rendered(DOCUMENTS[case], sheets(n_rows), language, full), width)


def printed(report: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(report)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_report_fits_eighty_columns_and_cuts_nothing_off(case: str, language: str, full: bool) -> None:
    text = shown(case, language, 80, full)

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_short_report_has_the_answer_the_main_metrics_and_the_period() -> None:
    text = shown("win", full=False)

    assert text.index("▲ It pays") < text.index("9,000 customers were treated") < text.index("Profit  ")
    assert "Attributed (not caused): 1,293 orders" in text and "ROI of what was caused: +359%" in text
    assert "64,925.86" in text and "+35.5%" in text
    assert "Units" not in text and "Welch" not in text and "first order in" not in text
    assert "nextoffer measure --full" in text


def test_the_full_report_leaves_nothing_out() -> None:
    text = shown("win")

    for words in (
        "Units",
        "Welch would say",
        "seed 123456789",
        "By segment: profit",
        "first order",
        "variance cut",
    ):
        assert words in text
    assert "--full" not in text


def test_a_table_too_wide_goes_on_below_itself_with_its_rows_named_again() -> None:
    text = shown("nobody")

    assert text.count("2026-03") == 2
    assert shown("nobody", width=200).count("2026-03") == 1
    assert [text.split().count(f"+{n}") for n in range(1, 13)] == [1] * 12


def test_a_heading_wider_than_the_screen_is_broken_between_words() -> None:
    sheet = Sheet("wide", "Wide", (Column("a", "a " * 60), Column("b", "b", "count")), (("x", 1),))

    text = printed(rendered(document(), [sheet], full=True), 80)

    assert text.count("a") >= 60 and max(map(len, text.splitlines())) <= 80


def test_a_refused_readout_says_why_once() -> None:
    text = " ".join(shown("blocked").split())

    assert text.count("7% of the holdout met an offer") == 1
    assert "treated minus holdout" not in text


def test_square_brackets_in_a_name_are_no_colours() -> None:
    text = printed(rendered(document(readout("[red]sale[/red]"))), 80)

    assert "[red]sale[/red]" in text
