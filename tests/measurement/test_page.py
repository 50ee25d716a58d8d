"""The page stands alone, says first whether offers paid, and takes no name for markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.measurement.browser import CHROMIUM, Browser
from tests.measurement.documents import (
    BLOCKED,
    DOCUMENTS,
    NAUGHTY,
    SEGMENTS,
    document,
    effect,
    readout,
    sheets,
)

from nextoffer.measurement.page import MOST_BYTES, page
from nextoffer.measurement.page.markup import el
from nextoffer.measurement.sheet import Column, Sheet
from nextoffer.texts import LANGUAGES

MADE_AT = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)


class Parsed(HTMLParser):
    """The elements and the text of a page; fails where an element is not closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_page_is_whole_and_asks_for_nothing(case: str, language: str) -> None:
    html = page(DOCUMENTS[case], sheets(), language, MADE_AT)

    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.elements} & {
        "script",
        "link",
        "iframe",
        "img",
        "object",
        "form",
    } == set()
    assert not [
        name
        for _, attributes in parsed.elements
        for name in attributes
        if name.startswith("on") or name == "src"
    ]
    assert all(href.startswith("#") for href in parsed.attributes("href"))
    assert re.findall(r"https?:|url\(|@import", html) == []
    assert len(set(parsed.attributes("id"))) == len(parsed.attributes("id"))
    assert {href[1:] for href in parsed.attributes("href")} <= set(parsed.attributes("id"))
    (policy,) = [has["content"] for _, has in parsed.elements if "http-equiv" in has]
    assert policy is not None and policy.startswith(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )
    assert len(html.encode()) <= MOST_BYTES


def test_the_same_measurement_is_the_same_bytes() -> None:
    assert page(DOCUMENTS["several"], sheets(), "ru", MADE_AT) == page(
        DOCUMENTS["several"], sheets(), "ru", MADE_AT
    )


def test_a_name_is_never_markup() -> None:
    html = page(document(readout(NAUGHTY, what=NAUGHTY)), sheets())

    assert Parsed(html).text.count(NAUGHTY) > 5
    assert "<script" not in html


@given(st.text(), st.text())
def test_what_is_written_is_read_again(text: str, attribute: str) -> None:
    text, attribute = (told.replace("\r", "").replace("\0", "") for told in (text, attribute))
    parsed = Parsed(el("p", text, ["", text], title=attribute))

    assert (parsed.text, parsed.attributes("title")) == (text + text, [attribute])


def cards(html: str) -> list[str]:
    return re.findall(r'<section class="verdict .*?</section>', html, re.DOTALL)


@pytest.mark.parametrize(
    ("case", "tone", "words"),
    [
        ("win", "win", ("▲ It pays", "+9,450 GBP in total (+2,790 to +17,280)", "+1.05 GBP per treated")),
        ("loss", "loss", ("▼ It loses money", "-7,200 GBP in total (-13,500 to -900)")),
        ("too few buyers", "unknown", ("○ Not yet known", "About 460 more customers before 10 of each")),
        ("too few to say how many", "unknown", ("○ Not yet known", "Nobody has bought enough yet")),
        (
            "not yet known",
            "unknown",
            ("○ Not yet known", "About 45,000 more customers", "to ∞)", "Small holdout"),
        ),
        ("no difference", "unknown", ("○ No difference shown", "A lift of 5% would have been found")),
        ("only revenue is known", "win", ("▲ More than without offers", "Revenue: ")),
        ("blocked", "blocked", ("✕ No answer", BLOCKED)),
        ("the least", "unknown", ("○ Not yet known", "Nothing was measured yet.")),
    ],
)
def test_the_answer_comes_first_and_too_little_data_is_never_a_success(
    case: str, tone: str, words: tuple[str, ...]
) -> None:
    html = page(DOCUMENTS[case], sheets())
    (card,) = cards(html)

    assert card.startswith(f'<section class="verdict {tone}">')
    assert all(word in Parsed(card).text for word in words)
    assert html.index(card) < html.index("<table")
    assert tone == "win" or "▲" not in card


def test_a_refused_readout_shows_no_effects() -> None:
    told = Parsed(page(DOCUMENTS["blocked"], ())).text

    assert "What the offers caused" not in told
    assert "p 0.5000" in told
    assert "not known1,293" in told.replace("\n", "")


def test_who_was_compared_and_left_out_is_told() -> None:
    told = Parsed(page(DOCUMENTS["nothing triggered"], ())).text

    for words in (
        "Assigned to offers9,000",
        "would have met one803",
        "0.20% of the holdout",
        "assigned412left out",
    ):
        assert words in told
    assert "or would havep < 0.0001✕ too unlikely to be chance" in told
    assert f"No readout: {BLOCKED}" in told


def test_what_is_attributed_stands_beside_what_was_caused() -> None:
    told = Parsed(page(DOCUMENTS["win"], ())).text

    assert "Revenue+28,800 (+8,100 to +50,400)81,895.86" in told
    assert "ROI+359% (+111% to ∞)+3,014%" in told
    assert "attributed is not caused" in told and "Naive: " in told


def test_costs_that_grow_are_no_win() -> None:
    told = Parsed(page(DOCUMENTS["win"], ())).text

    assert "Cost of incentives▲ more+0.200" in told
    assert "Cost of incentives▲ win" not in told
    assert "Cost of contacts= counted+0.050" in told  # the holdout has none, which is no lack of data


def labels(html: str) -> Iterator[str]:
    for tag, attributes in Parsed(html).elements:
        if tag == "svg":
            assert attributes["role"] == "img"
            yield attributes["aria-label"] or ""


def test_every_picture_has_its_figures_in_words() -> None:
    metrics, segments, kinds, bars = labels(page(DOCUMENTS["win"], sheets()))

    assert metrics.startswith("Profit +7.4% (+2.2% to +13.5%); Share who bought +6.8%")
    assert "Promising +0.300 (-0.600 to ∞)" in segments and SEGMENTS[-1] not in segments
    assert kinds.startswith(NAUGHTY)
    assert bars.startswith(f"0. {NAUGHTY} 30,000.00; ")


def test_a_page_that_would_be_too_large_gives_up_pictures_and_rows_and_says_so() -> None:
    many = document(*(readout(f"experiment {at}") for at in range(9)))

    html = page(many, sheets(400), "ru", MADE_AT)

    assert len(html.encode()) <= MOST_BYTES
    assert len(cards(html)) == 9
    assert "nextoffer measure --json" in Parsed(html).text


def test_the_deepest_shade_leaves_its_figure_readable() -> None:
    shades = set(re.findall(r"background:#(\w{6})", page(document(), sheets())))
    ink = luminance("1b1f24")

    assert len(shades) > 5
    assert min((luminance(shade) + 0.05) / (ink + 0.05) for shade in shades) >= 4.5


def luminance(colour: str) -> float:
    """Of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_style_is_sound() -> None:
    style = resources.files("nextoffer.measurement.page").joinpath("style.css").read_text()
    flat = re.sub(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}", r"\1", style)

    assert style.count("{") == style.count("}")
    assert re.fullmatch(r"(?:\s*[^{};]+\{[^{}]*\})*\s*", flat)


@pytest.mark.parametrize(("size", "scale"), [(0.001, "+0.001"), (5.0, "+10"), (400.0, "+400")])
def test_an_axis_is_written_in_plain_figures(size: float, scale: str) -> None:
    segments = [{"key": "a", "name": "a", "effect": effect(size=(size, size / 2, 2 * size)), "q": 0.1}]

    html = page(document(readout(segments=segments)), ())

    assert f">{scale}<" in html
    assert re.findall(r">[+−][^<]*e[^<]*<", html) == []


def test_a_sum_of_the_others_is_no_bar_beside_them() -> None:
    columns = (Column("segment", "", "key"), Column("name", "segment"), Column("revenue", "revenue", "money"))
    rows = (("a", "Ann", 100), ("b", "Ben", 200), ("all", "All", 300))

    html = page(document(), [Sheet("segments", "Segments", columns, rows)])

    assert list(labels(html)) == ["Ann 1.00; Ben 2.00"]
    assert "All" in Parsed(html).text


@pytest.mark.parametrize(
    ("change", "told"),
    [(0.5, "▲ +50%"), (-0.011, "▼ -1.1%"), (0.0002, "= 0%"), (0, "= 0%"), (350.12, "▲ +35,012%")],
)
def test_a_change_is_told_by_a_sign_too(change: float, told: str) -> None:
    html = page(
        document(), [Sheet("x", "X", (Column("a", "a"), Column("change", "b", "change")), (("a", change),))]
    )

    assert f'<td class="n">{told}</td>' in html


def test_the_page_says_when_it_was_made_and_of_what() -> None:
    told = Parsed(page(DOCUMENTS["several"], (), "en", MADE_AT)).text

    assert "Data from 2026-05-01 until 2026-08-31; money in GBP. Made on 2026-11-22 23:40 UTC." in told
    assert "Only the segment Champions." in told


def test_an_unbounded_effect_is_drawn_as_far_as_the_others() -> None:
    segments = [
        {"key": str(at), "name": str(at), "effect": effect(size=size), "q": 0.1}
        for at, size in enumerate([(1.0, -1.0, 3.0), (1.0, 0.5, None), (0.0, -900.0, 900.0)])
    ]

    html = page(document(readout(segments=segments)), ())

    assert "+1.000 (+0.500 to ∞)" in list(labels(html))[1]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_browser_shows_it_at_every_width_without_a_request_or_a_complaint(
    tmp_path: Path, language: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(DOCUMENTS["several"], sheets(12), language, MADE_AT), encoding="utf-8")

    with Browser(tmp_path / "profile") as browser:
        for width in (390, 768, 1400):
            browser.open(file, width)
            assert browser.value("document.documentElement.scrollWidth") == width
            assert browser.value("[...document.querySelectorAll('svg')].every(svg => svg.clientWidth > 200)")
        browser.print(tmp_path / "report.pdf")

    assert set(browser.requests) == {file.as_uri()}
    assert browser.said == []
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
